import { fileURLToPath } from 'node:url';
import { openSafetensors, type Checkpoint } from '../../../lib/hub/safetensors.js';
import { Qwen2_5VLTarget } from '../../../lib/models/qwen2_5_vl/target.js';
import type { VisualFeature } from '../../../lib/models/qwen_vl/visual-feature.js';
import type { LoadTargetOptions, Sample } from '../../../lib/models/target.js';
import { cast, scope, toFloats } from '../../../lib/tensor.js';

/** Made by scripts/fixtures/qwen2_5_vl_target.py: weights under run-time names, published, as transformers 5 saves. */
export const checkpoints = ['untied', 'published', 'tied'];
export const cases = ['text', 'images', 'clip', 'mixed'];

const videoTokenId = 191;

export const directory = (checkpoint: string): string =>
  fileURLToPath(new URL(`../../fixtures/qwen2_5_vl/${checkpoint}`, import.meta.url));

export const loadTarget = (checkpoint: string, options?: LoadTargetOptions): Qwen2_5VLTarget =>
  Qwen2_5VLTarget.load(directory(checkpoint), options);

/** Inputs of a case and what transformers makes of them in float32. */
export interface ExpectedCase {
  sample: Sample;
  /** [L + 1, T, H], before the final norm. */
  hiddenStates: Float32Array;
  /** [T, H] */
  lastHiddenStates: Float32Array;
  /** [3, V]: the last three rows. */
  logits: Float32Array;
  /** Greedy continuation. */
  greedy: number[];
}

function floats(file: Checkpoint, name: string): Float32Array {
  return scope(() => toFloats(cast(file.load(name), 'float32')));
}

function ints(file: Checkpoint, name: string): number[] {
  return scope(() => Array.from(file.load(name).toTypedArray(), Number));
}

export function expectedCase(checkpoint: string, name: string): ExpectedCase {
  const file = openSafetensors(`${directory(checkpoint)}/expected.safetensors`);
  const inputIds = Int32Array.from(ints(file, `${name}.input_ids`));
  const media: VisualFeature[] = [];
  let at = 0;
  for (let i = 0; file.has(`${name}.media.${i}.grid`); i++) {
    const grid = ints(file, `${name}.media.${i}.grid`) as unknown as VisualFeature['grid'];
    const tokens = (grid[0] * grid[1] * grid[2]) / 4;
    at = inputIds.findIndex((id, t) => t >= at && (id === videoTokenId || id === videoTokenId - 1));
    const kind = inputIds[at] === videoTokenId ? 'video' : 'image';
    at += tokens;
    media.push({ kind, tokens, grid, pixels: floats(file, `${name}.media.${i}.pixels`) });
  }
  return {
    sample: {
      id: name,
      inputIds,
      lossMask: new Uint8Array(inputIds.length),
      positionIds: floats(file, `${name}.position_ids`),
      axes: 3,
      positionDelta: ints(file, `${name}.rope_delta`)[0]!,
      media,
      modality: media[0]?.kind ?? 'text',
    },
    hiddenStates: floats(file, `${name}.hidden_states`),
    lastHiddenStates: floats(file, `${name}.last_hidden_states`),
    logits: floats(file, `${name}.logits`),
    greedy: ints(file, `${name}.greedy`),
  };
}
