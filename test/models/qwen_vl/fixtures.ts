import { fileURLToPath } from 'node:url';
import { openSafetensors, type Checkpoint } from '../../../lib/hub/safetensors.js';
import type { VisualFeature } from '../../../lib/models/qwen_vl/visual-feature.js';
import type { Sample } from '../../../lib/models/target.js';
import { cast, scope, toFloats } from '../../../lib/tensor.js';

/** Made by scripts/fixtures/<family>_target.py, for every checkpoint. */
export const cases = ['text', 'images', 'clip', 'mixed'];

const imageTokenId = 190;
const videoTokenId = 191;

export const fixtureDirectory = (family: string, checkpoint: string): string =>
  fileURLToPath(new URL(`../../fixtures/${family}/${checkpoint}`, import.meta.url));

/** Inputs of a case and what transformers makes of them in float32. */
export interface ExpectedCase {
  sample: Sample;
  /** [L + 1, T, H], before the final norm, with the visual features that a layer adds. */
  hiddenStates: Float32Array;
  /** [K, T, H]: outputs of the first K layers before that. */
  deepstackBefore: Float32Array;
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

export function expectedCase(family: string, checkpoint: string, name: string): ExpectedCase {
  const file = openSafetensors(`${fixtureDirectory(family, checkpoint)}/expected.safetensors`);
  const inputIds = Int32Array.from(ints(file, `${name}.input_ids`));
  const slots = [...inputIds].filter((id) => id === imageTokenId || id === videoTokenId);
  const media: VisualFeature[] = [];
  for (let i = 0; file.has(`${name}.media.${i}.grid`); i++) {
    const grid = ints(file, `${name}.media.${i}.grid`) as unknown as VisualFeature['grid'];
    const tokens = (grid[0] * grid[1] * grid[2]) / 4;
    const kind = slots.splice(0, tokens)[0] === videoTokenId ? 'video' : 'image';
    media.push({ kind, tokens, grid, pixels: floats(file, `${name}.media.${i}.pixels`) });
  }
  const deepstack = `${name}.deepstack_before`;
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
    deepstackBefore: file.has(deepstack) ? floats(file, deepstack) : new Float32Array(),
    lastHiddenStates: floats(file, `${name}.last_hidden_states`),
    logits: floats(file, `${name}.logits`),
    greedy: ints(file, `${name}.greedy`),
  };
}
