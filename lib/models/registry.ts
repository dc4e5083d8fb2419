import { join } from 'node:path';
import { describe, readJsonObject } from '../hub/files.js';
import { loadConfig as loadQwen2_5VLConfig } from './qwen2_5_vl/config.js';
import { Qwen2_5VLProcessor, type Qwen2_5VLProcessorOptions } from './qwen2_5_vl/processor.js';
import { Qwen2_5VLTarget } from './qwen2_5_vl/target.js';
import type { LoadTargetOptions, Processor, Target, TargetInfo } from './target.js';

/** Options of every family's processor; a family ignores those that it has no use for. */
export type ProcessorOptions = Qwen2_5VLProcessorOptions;

interface Family {
  readInfo(modelDir: string): TargetInfo;
  loadTarget(modelDir: string, options?: LoadTargetOptions): Target;
  loadProcessor(modelDir: string, options?: ProcessorOptions): Processor;
}

/** By the architecture class of config.json. */
const families = new Map<string, Family>([
  [
    'Qwen2_5_VLForConditionalGeneration',
    {
      readInfo: (modelDir) => loadQwen2_5VLConfig(modelDir).text,
      loadTarget: (modelDir, options) => Qwen2_5VLTarget.load(modelDir, options),
      loadProcessor: (modelDir, options) => Qwen2_5VLProcessor.create(modelDir, options),
    },
  ],
]);

/** Architectures that targets can have. */
export const architectures: readonly string[] = [...families.keys()];

function familyOf(modelDir: string): Family {
  const file = join(modelDir, 'config.json');
  const declared = readJsonObject(file)['architectures'];
  const architecture: unknown = Array.isArray(declared) ? declared[0] : declared;
  const family = typeof architecture === 'string' ? families.get(architecture) : undefined;
  if (!family) {
    throw new Error(`${file}: architectures: expected ${architectures.join(' or ')}, received ${describe(architecture)}`);
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
