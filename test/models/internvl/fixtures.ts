import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors } from '../../../lib/hub/safetensors.js';
import { cast, scope, toFloats } from '../../../lib/tensor.js';
import { FamilyFixtures } from '../../helpers/family-fixtures.js';

export type { Changes } from '../../helpers/family-fixtures.js';

/** Made by scripts/fixtures/internvl.py. */
export const fixtures = fileURLToPath(new URL('../../fixtures/internvl', import.meta.url));

/** Two in transformers' layout, two in OpenGVLab's. */
export const checkpoints = ['qwen2', 'qwen3_moe', 'original', 'internlm2'];
export const cases = ['text', 'pictures', 'clip'];

/** Frames that the fixtures take of a clip, by transformers' rule. */
export const clipOptions = { positionRule: 'transformers5', maxFrames: 6 } as const;

const family = new FamilyFixtures('internvl');

export const modelDir = family.modelDir.bind(family);
export const record = family.record.bind(family);

/** Expected values of a case, by name. */
export function expectedValues(checkpoint: string, name: string) {
  const file = openSafetensors(join(fixtures, checkpoint, 'expected.safetensors'));
  const floats = (key: string): Float32Array => scope(() => toFloats(cast(file.load(`${name}.${key}`), 'float32')));
  return {
    inputIds: scope(() => Array.from(file.load(`${name}.input_ids`).toTypedArray(), Number)),
    pixels: file.has(`${name}.pixels`) ? floats('pixels') : new Float32Array(),
    hiddenStates: floats('hidden_states'),
    lastHiddenStates: floats('last_hidden_states'),
  };
}

/** Every fifth of the rows [T, H], of every boundary where there are several. */
export function everyFifthRow(states: Float32Array, rows: number, width: number): Float32Array {
  const boundaries = states.length / rows / width;
  const picked: number[] = [];
  for (let k = 0; k < boundaries; k++) {
    for (let row = 0; row < rows; row += 5) {
      const at = (k * rows + row) * width;
      picked.push(...states.subarray(at, at + width));
    }
  }
  return Float32Array.from(picked);
}
