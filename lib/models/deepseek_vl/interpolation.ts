import { clone, ops, reshape, scope, tensor, transpose, type Tensor } from '../../tensor.js';

/**
 * Bilinear interpolation along one axis as a matrix, float32 [to, from]; positions are centres of pixels, as with
 * torch's `align_corners=False`.
 *
 * @param antialias whether the filter widens where the axis shrinks
 */
export function bilinearMatrix(from: number, to: number, antialias: boolean): Float32Array {
  const matrix = new Float32Array(to * from);
  const step = from / to;
  const stretch = antialias ? Math.max(step, 1) : 1;
  for (let i = 0; i < to; i++) {
    const center = step * (i + 0.5) - 0.5;
    const row = Array.from({ length: from }, (_, j) => Math.max(0, 1 - Math.abs(j - center) / stretch));
    // What lies beyond the edge counts as the edge, or not at all with antialiasing: the same after normalisation,
    // since the plain filter has at most one pixel inside then.
    const sum = row.reduce((total, weight) => total + weight, 0);
    row.forEach((weight, j) => {
      matrix[i * from + j] = weight / sum;
    });
  }
  return matrix;
}

/**
 * A map of `side` × `side` rows interpolated on both axes.
 *
 * @param x float32 [side², C], row by row
 * @param matrix of {@link bilinearMatrix}, [to, side]
 * @returns float32 [to², C]
 */
export function interpolate(x: Tensor, matrix: Tensor): Tensor {
  const [to, side] = matrix.shape as [number, number];
  const channels = x.shape[1]!;
  /** [rows, columns, C] interpolated over the rows, and turned: [columns, to, C]. */
  const pass = (map: Tensor, columns: number): Tensor =>
    clone(
      transpose(reshape(ops.matmul(matrix, reshape(map, [side, columns * channels])), [to, columns, channels]), 0, 1),
    );
  return scope(() => reshape(pass(pass(x, side), to), [to * to, channels]));
}

/** {@link bilinearMatrix} as a tensor. */
export function bilinear(from: number, to: number, antialias = false): Tensor {
  return tensor(bilinearMatrix(from, to, antialias), [to, from]);
}
