import { clone, dispose, ops, reshape, scope, tensor, transpose, type Tensor } from '../../tensor.js';
import type { FrameLayout } from '../qwen_vl/frames.js';
import { patchCount, type Grid } from '../qwen_vl/visual-feature.js';

/**
 * Linear interpolation of `side` values at `size` places, first on first and last on last, as a matrix [size, side];
 * the places are float32 as transformers computes them.
 */
function interpolation(size: number, side: number): Tensor {
  const weights = new Float32Array(size * side);
  for (let i = 0; i < size; i++) {
    const place = Math.fround((i * (side - 1)) / Math.max(size - 1, 1));
    const below = Math.floor(place);
    const share = Math.fround(place - below);
    weights[i * side + below] = 1 - share;
    if (share > 0) weights[i * side + below + 1] = share;
  }
  return tensor(weights, [size, side]);
}

/** A table [side², E] interpolated to width × height places, column by column: [width · height, E]. */
function resample(table: Tensor, height: number, width: number): Tensor {
  const [places, features] = table.shape as [number, number];
  const side = Math.sqrt(places);
  return scope(() => {
    const rows = ops.matmul(interpolation(height, side), reshape(table, [side, side * features]));
    const byColumn = clone(transpose(reshape(rows, [height, side, features]), 0, 1));
    const both = ops.matmul(interpolation(width, side), reshape(byColumn, [side, height * features]));
    return reshape(both, [width * height, features]);
  });
}

/**
 * Learned positions of patches: a square table stretched over each frame.
 *
 * @param table float32 [side², E]
 * @returns float32 [P, E]
 */
export function interpolatePositions(table: Tensor, grids: readonly Grid[], layout: FrameLayout): Tensor {
  const patches = layout.begin.length;
  let start = 0;
  return scope(() => {
    const parts = grids.map((grid) => {
      const [, height, width] = grid;
      const ids = Int32Array.from({ length: patchCount(grid) }, (_, i) => {
        const row = layout.positions[start + i]!;
        const column = layout.positions[patches + start + i]!;
        return column * height + row;
      });
      start += ids.length;
      const resampled = resample(table, height, width);
      const part = ops.gatherRows(resampled, tensor(ids, [ids.length]));
      dispose(resampled);
      return part;
    });
    return ops.cat(parts, 0);
  });
}
