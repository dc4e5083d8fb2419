import type { Tensor } from '../tensor.js';

/**
 * Element type of attention's products in a model with such weights: on the CPU attention in float32 is cheap beside the
 * other products; a GPU has tensor cores for bfloat16.
 */
export function attentionDtype({ device, dtype }: Tensor): 'float32' | 'bfloat16' {
  return device === 'cuda' && dtype === 'bfloat16' ? 'bfloat16' : 'float32';
}
