import { join } from 'node:path';
import { describe, readJsonObject } from '../hub/files.js';
import { deepseekVL } from './deepseek_vl/index.js';
import type { Family, ProcessorOptions } from './family.js';
import { internVL } from './internvl/index.js';
import { qwen2_5Omni } from './qwen2_5_omni/index.js';
import { qwen2_5VL } from './qwen2_5_vl/index.js';
import { qwen2VL } from './qwen2_vl/index.js';
import { qwen3VL } from './qwen3_vl/index.js';
import { qwen3Omni } from './qwen3_omni/index.js';
import type { LoadTargetOptions, Processor, Target, TargetInfo } from './target.js';
import { textFamilies } from './text/index.js';

/** One line a family. */
export const families: readonly Family[] = [...textFamilies, qwen2VL, qwen2_5VL, qwen3VL, internVL, deepseekVL, qwen2_5Omni, qwen3Omni];

/** Architectures that targets can have. */
export const architectures: readonly string[] = families.flatMap((family) => family.architectures);

/**
 * The family that a model directory belongs to, by the architecture class of its config.json.
 *
 * @throws Error that lists what is supported
 */
export function familyOf(modelDir: string): Family {
  const file = join(modelDir, 'config.json');
  const declared = readJsonObject(file)['architectures'];
  const architecture: unknown = Array.isArray(declared) ? declared[0] : declared;
  const family = families.find(({ architectures: known }) => known.includes(architecture as string));
  if (!family) {
    const expected = [...architectures].sort().join(', ');
    throw new Error(`${file}: architectures: expected one of ${expected}; received ${describe(architecture)}`);
  }
  return family;
}

/**
 * Loads a target from a model directory, as `resolveModel` finds it.
 *
 * @throws Error naming the file and field, or the weights, that do not fit; of an architecture that is not known
 */
export function loadTarget(modelDir: string, options?: LoadTargetOptions): Target {
  return familyOf(modelDir).loadTarget(modelDir, options);
}

/** What the modality-blind parts may know of a target, from its config alone. */
export function readTargetInfo(modelDir: string): TargetInfo {
  return familyOf(modelDir).readInfo(modelDir);
}

/** Loads the processor that belongs to a target. */
export function loadProcessor(modelDir: string, options?: ProcessorOptions): Processor {
  return familyOf(modelDir).loadProcessor(modelDir, options);
}
