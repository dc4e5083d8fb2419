import { dispose, keep, ops, scope, tensor, type Tensor } from '../../tensor.js';
import {
  attendWithin,
  EncoderLayer,
  linear,
  normalize,
  type EncoderLayerWeights,
  type LinearWeights,
  type NormWeights,
} from '../encoder/layer.js';
import type { SiglipConfig } from './config.js';

/** Weights of SigLIP; E its hidden size, P patches a picture. */
export interface SiglipWeights {
  /** [E, 3 · patch²] */
  patchEmbed: LinearWeights;
  /** [P, E] */
  positions: Tensor;
  layers: EncoderLayerWeights[];
  finalNorm: NormWeights;
}

/** SigLIP's vision tower, without its pooling head. */
export class SiglipTower {
  readonly #layers: EncoderLayer[];
  readonly #weights: Omit<SiglipWeights, 'layers'>;

  /** Takes over the weights. */
  constructor(
    private readonly config: SiglipConfig,
    { layers, ...weights }: SiglipWeights,
  ) {
    this.#layers = layers.map((layer) => new EncoderLayer({ ...config, norm: 'layer' }, layer));
    this.#weights = keep(weights);
  }

  /**
   * Features of the patches of pictures, float32 [N·P, E].
   *
   * @param pixels float32 [N·P, 3 · patch²]: patches row by row, picture after picture
   */
  forward(pixels: Tensor): Tensor {
    return scope(() => {
      const { patchEmbed, positions, finalNorm } = this.#weights;
      const [rows, patches] = [pixels.shape[0]!, positions.shape[0]!];
      const ints = (value: (row: number) => number): Tensor =>
        tensor(
          Int32Array.from({ length: rows }, (_, row) => value(row)),
          [rows],
        );
      const x = linear(pixels, patchEmbed);
      ops.addInPlace(x, ops.gatherRows(positions, ints((row) => row % patches)));
      const start = (row: number): number => row - (row % patches);
      const attend = attendWithin(
        ints(start),
        ints((row) => start(row) + patches),
      );
      for (const layer of this.#layers) layer.forward(x, attend);
      return normalize(x, finalNorm, { norm: 'layer', normEps: this.config.normEps });
    });
  }

  dispose(): void {
    for (const layer of this.#layers) layer.dispose();
    dispose(this.#weights);
  }
}
