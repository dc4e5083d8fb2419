import { join } from 'node:path';
import type { WeightSpec } from '../../lib/hub/weights.js';
import { writeSafetensors, type ArrayTensor } from '../../lib/hub/safetensors-writer.js';
import { Draws } from './random.js';

/** Writes model.safetensors of a spec: norms near 1, the rest small enough that states stay of order 1. */
export function writeRandomWeights(
  dir: string,
  spec: Readonly<Record<string, WeightSpec>>,
  seed: number,
): void {
  const draws = new Draws(seed);
  const tensors = Object.entries(spec).map(([name, entry]): [string, ArrayTensor] => {
    const shape = 'shape' in entry ? entry.shape : entry;
    const size = shape.reduce((product, n) => product * n, 1);
    const isNorm = shape.length === 1 && name.endsWith('.weight');
    const scale = isNorm || shape.length === 1 ? 0.1 : 1 / Math.sqrt(size / shape[0]!);
    const data = draws.normals(size).map((x) => (isNorm ? 1 : 0) + scale * x);
    return [name, { dtype: 'float32', shape, data }];
  });
  writeSafetensors(join(dir, 'model.safetensors'), Object.fromEntries(tensors));
}
