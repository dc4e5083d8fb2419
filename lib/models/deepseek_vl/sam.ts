import { clone, dispose, keep, ops, scope, toFloats, type Tensor } from '../../tensor.js';
import { EncoderLayer, linear, normalize, type EncoderLayerWeights, type LinearWeights, type NormWeights } from '../encoder/layer.js';
import type { SamConfig } from './config.js';
import { Convolution } from './convolution.js';
import { bilinear, interpolate } from './interpolation.js';
import { RelativeAttention, Windows, type RelativeWeights } from './relative-attention.js';

/** A layer; q, k and v have relative positions. */
export interface SamLayerWeights extends EncoderLayerWeights {
  relative: RelativeWeights;
}

/** Convolutions of 1 × 1 and 3 × 3, with a norm over the C channels after each. */
export interface NeckWeights {
  /** [C, E] */
  reduce: LinearWeights;
  norm1: NormWeights;
  /** [C, C·9] */
  convolution: Tensor;
  norm2: NormWeights;
}

/** Weights of the tower; E its hidden size, C channels of the neck, P patches a picture. */
export interface SamWeights {
  /** [E, 3 · patch²] */
  patchEmbed: LinearWeights;
  /** [P, E] */
  positions: Tensor;
  layers: SamLayerWeights[];
  neck: NeckWeights;
  /** After the first layer that sees the whole picture. */
  globalNeck: NeckWeights;
  /** [2C, C·9] and [4C, 2C·9]: convolutions of stride 2. */
  projection: [Tensor, Tensor];
  /** [1]: how much of the first global layer's features is added. */
  alpha: Tensor;
}

const neckNorm = { norm: 'layer', normEps: 1e-6 } as const;

class Neck {
  readonly #convolution: Convolution;
  readonly #weights: Omit<NeckWeights, 'convolution'>;

  constructor({ convolution, ...weights }: NeckWeights, side: number) {
    this.#convolution = new Convolution(convolution, side, 1);
    this.#weights = keep(weights);
  }

  /** [P, E] → [P, C] */
  forward(x: Tensor): Tensor {
    const { reduce, norm1, norm2 } = this.#weights;
    return normalize(this.#convolution.forward(normalize(linear(x, reduce), norm1, neckNorm)), norm2, neckNorm);
  }

  dispose(): void {
    this.#convolution.dispose();
    dispose(this.#weights);
  }
}

/** The image encoder of Segment Anything with DeepSeek's merge of two depths, one token for every `tokensPerSide`². */
export class SamTower {
  readonly #layers: { layer: EncoderLayer; attention: RelativeAttention }[];
  readonly #windows: { local: Windows; global: Windows };
  readonly #weights: Pick<SamWeights, 'patchEmbed' | 'positions'>;
  readonly #neck: Neck;
  readonly #globalNeck: Neck;
  readonly #projection: [Convolution, Convolution];
  /** [4·tokensPerSide, side] */
  readonly #interpolation: Tensor;
  readonly #alpha: number;

  /** Takes over the weights. */
  constructor(
    private readonly config: SamConfig,
    weights: SamWeights,
    tokensPerSide: number,
  ) {
    const { imageSize, patchSize, windowSize, numHeads, globalLayers } = config;
    const side = imageSize / patchSize;
    this.#windows = {
      local: new Windows(side, windowSize === 0 ? side : windowSize, numHeads),
      global: new Windows(side, side, numHeads),
    };
    this.#layers = weights.layers.map(({ relative, ...layer }, i) => {
      const windows = globalLayers.includes(i) ? this.#windows.global : this.#windows.local;
      return {
        attention: new RelativeAttention(windows, numHeads, relative, layer.qkv.bias),
        layer: new EncoderLayer({ ...config, norm: 'layer' }, layer),
      };
    });
    this.#weights = keep({ patchEmbed: weights.patchEmbed, positions: weights.positions });
    this.#neck = new Neck(weights.neck, side);
    this.#globalNeck = new Neck(weights.globalNeck, side);
    this.#projection = [
      new Convolution(weights.projection[0], 4 * tokensPerSide, 2),
      new Convolution(weights.projection[1], 2 * tokensPerSide, 2),
    ];
    this.#interpolation = keep(bilinear(side, 4 * tokensPerSide));
    this.#alpha = toFloats(weights.alpha)[0]!;
    dispose(weights.alpha);
  }

  /**
   * Features of a picture, float32 [tokensPerSide², 4C].
   *
   * @param pixels float32 [P, 3 · patch²]: patches row by row
   */
  forward(pixels: Tensor): Tensor {
    return scope(() => {
      const { patchEmbed, positions } = this.#weights;
      const x = linear(pixels, patchEmbed);
      ops.addInPlace(x, positions);
      let afterGlobal = x;
      this.#layers.forEach(({ layer, attention }, i) => {
        layer.forward(x, attention.attend);
        if (i === this.config.globalLayers[0]) afterGlobal = clone(x);
      });
      const features = this.#project(this.#neck.forward(x));
      ops.addInPlace(features, this.#project(this.#globalNeck.forward(afterGlobal)), this.#alpha);
      return features;
    });
  }

  dispose(): void {
    for (const { layer, attention } of this.#layers) {
      layer.dispose();
      attention.dispose();
    }
    for (const part of [this.#neck, this.#globalNeck, ...this.#projection]) part.dispose();
    for (const windows of Object.values(this.#windows)) windows.dispose();
    dispose([this.#weights, this.#interpolation]);
  }

  /** [P, C] → [tokensPerSide², 4C] */
  #project(features: Tensor): Tensor {
    const [first, second] = this.#projection;
    return second.forward(first.forward(interpolate(features, this.#interpolation)));
  }
}
