import { clone, dispose, keep, ops, reshape, scope, tensor, transpose, type Tensor } from '../../tensor.js';

/** 3 × 3 convolution of a map of `side` × `side` rows, zero beyond its edges. */
export class Convolution {
  readonly #weight: Tensor;
  /** int32 [n²·9]: rows that every output sees; side² stands for those beyond the edges. */
  readonly #seen: Tensor;

  /**
   * Takes over the weight.
   *
   * @param weight [outputs, C·9] as checkpoints have it: nine values a channel
   */
  constructor(
    weight: Tensor,
    private readonly side: number,
    private readonly stride: number,
  ) {
    const outputs = weight.shape[0]!;
    const channels = weight.shape[1]! / 9;
    this.#weight = keep(
      scope(() => {
        const byPlace = clone(transpose(reshape(weight, [outputs, channels, 9]), 1, 2));
        return reshape(byPlace, [outputs, 9 * channels]);
      }),
    );
    dispose(weight);
    const seen = this.#places();
    this.#seen = keep(tensor(seen, [seen.length]));
  }

  /** Of a side of the result. */
  get outputSide(): number {
    return Math.floor((this.side - 1) / this.stride) + 1;
  }

  /**
   * @param x float32 [side², C], row by row
   * @returns float32 [n², outputs], n the result's side
   */
  forward(x: Tensor): Tensor {
    return scope(() => {
      const channels = x.shape[1]!;
      const padded = ops.cat([x, ops.zeros([1, channels], 'float32')], 0);
      const patches = reshape(ops.gatherRows(padded, this.#seen), [this.outputSide ** 2, 9 * channels]);
      return ops.matmul(patches, this.#weight, { transposeB: true });
    });
  }

  dispose(): void {
    dispose([this.#weight, this.#seen]);
  }

  #places(): Int32Array {
    const { side, stride, outputSide } = this;
    const seen = new Int32Array(outputSide ** 2 * 9);
    for (let i = 0; i < seen.length; i++) {
      const [output, place] = [Math.floor(i / 9), i % 9];
      const y = Math.floor(output / outputSide) * stride + Math.floor(place / 3) - 1;
      const x = (output % outputSide) * stride + (place % 3) - 1;
      seen[i] = y >= 0 && x >= 0 && y < side && x < side ? y * side + x : side * side;
    }
    return seen;
  }
}
