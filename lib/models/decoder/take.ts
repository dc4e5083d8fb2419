import { dispose, ops, type Tensor } from '../../tensor.js';

/** Takes a weight out of what was loaded: from here on its new owner disposes it. */
export function takeWeight(loaded: Map<string, Tensor>, name: string): Tensor {
  const weight = loaded.get(name);
  if (!weight) throw new Error(`weight ${name}: expected it in the model's weight spec`);
  loaded.delete(name);
  return weight;
}

/** Rows of several weights one after another, as one tensor. */
export function fuseWeights(loaded: Map<string, Tensor>, names: readonly string[]): Tensor {
  const parts = names.map((name) => takeWeight(loaded, name));
  const fused = ops.cat(parts, 0);
  dispose(parts);
  return fused;
}
