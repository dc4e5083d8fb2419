import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors } from '../../../lib/hub/safetensors.js';
import { cast, scope, toFloats } from '../../../lib/tensor.js';
import { FamilyFixtures } from '../../helpers/family-fixtures.js';

export type { Changes } from '../../helpers/family-fixtures.js';

/** Made by scripts/fixtures/deepseek_vl.py. */
export const fixtures = fileURLToPath(new URL('../../fixtures/deepseek_vl', import.meta.url));

/** Two in transformers' layout, two in DeepSeek's. */
export const checkpoints = ['plain', 'hybrid', 'original', 'original-hybrid'];
export const cases = ['text', 'pictures'];

const family = new FamilyFixtures('deepseek_vl');

export const modelDir = family.modelDir.bind(family);
export const record = family.record.bind(family);

/** Expected values of a case, by name. */
export function expectedValues(checkpoint: string, name: string) {
  const file = openSafetensors(join(fixtures, checkpoint, 'expected.safetensors'));
  const floats = (key: string): Float32Array => scope(() => toFloats(cast(file.load(`${name}.${key}`), 'float32')));
  const optional = (key: string): Float32Array | undefined => (file.has(`${name}.${key}`) ? floats(key) : undefined);
  return {
    inputIds: scope(() => Array.from(file.load(`${name}.input_ids`).toTypedArray(), Number)),
    pixels: optional('pixels'),
    highResPixels: optional('high_res_pixels'),
    hiddenStates: floats('hidden_states'),
    lastHiddenStates: floats('last_hidden_states'),
    logits: floats('logits'),
  };
}
