import type { Activation } from '../../native.js';
import { dispose, keep, narrow, ops, reshape, scope, type Tensor } from '../../tensor.js';
import { attentionDtype } from '../attention-dtype.js';
import type { RopeTables } from '../rotary.js';

/** Sizes of a pre-norm encoder layer. */
export interface EncoderConfig {
  hiddenSize: number;
  numHeads: number;
  intermediateSize: number;
  norm: 'layer' | 'rms';
  normEps: number;
  /** Of the RMS norms over q and k; as the others' if absent. */
  queryKeyNormEps?: number;
  activation: Activation;
}

/** Scale and shift of a norm over the last dimension, float32 [H]; RMS norms have no bias. */
export interface NormWeights {
  weight: Tensor;
  bias?: Tensor;
}

/** Matrix [out, in] and its bias [out]. */
export interface LinearWeights {
  weight: Tensor;
  bias?: Tensor;
}

/** Weights of a layer; H hidden, I intermediate. */
export interface EncoderLayerWeights {
  norm1: NormWeights;
  /** [3·H, H]: rows of q, k and v one after another. */
  qkv: LinearWeights;
  /** RMS norms over all heads of q and k together, [H]. */
  queryNorm?: Tensor;
  keyNorm?: Tensor;
  output: LinearWeights;
  /** [H]: multiplies what attention adds to the residual stream (layer scale). */
  attentionScale?: Tensor;
  norm2: NormWeights;
  /** [I, H] */
  up: LinearWeights;
  /** [H, I] */
  down: LinearWeights;
  /** [H]: multiplies what the MLP adds. */
  mlpScale?: Tensor;
}

/** Attends with q, k, v [N, heads, D], products in `dtype`, and returns [N, heads, D]. */
export type EncoderAttend = (q: Tensor, k: Tensor, v: Tensor, dtype: 'float32' | 'bfloat16') => Tensor;

/** x · weightᵀ + bias, float32 [N, out]. */
export function linear(x: Tensor, { weight, bias }: LinearWeights): Tensor {
  return ops.matmul(x, weight, { transposeB: true, bias });
}

/** Rows of x normalised. */
export function normalize(x: Tensor, { weight, bias }: NormWeights, { norm, normEps }: NormKind): Tensor {
  return norm === 'layer' ? ops.layerNorm(x, weight, bias, normEps) : ops.rmsNorm(x, weight, normEps);
}

export type NormKind = Pick<EncoderConfig, 'norm' | 'normEps'>;

/** Attention within ranges of rows: row i sees rows begin[i] ≤ j < end[i] (int32 [N]), in both directions. */
export function attendWithin(begin: Tensor, end: Tensor): EncoderAttend {
  return (q, k, v, dtype) => ops.attention(q, k, v, begin, end, { dtype }).out;
}

/** Pre-norm encoder layer with a plain MLP, as vision and audio towers have it. */
export class EncoderLayer {
  /** Takes over the weights. */
  constructor(
    private readonly config: EncoderConfig,
    private readonly weights: EncoderLayerWeights,
  ) {
    keep(weights);
  }

  /** Adds attention and MLP to the residual stream `x` [N, H] in place. */
  forward(x: Tensor, attend: EncoderAttend, rope?: RopeTables): void {
    const { hiddenSize, numHeads, activation, queryKeyNormEps = this.config.normEps } = this.config;
    const w = this.weights;
    const rows = x.shape[0]!;
    const headDim = hiddenSize / numHeads;
    scope(() => {
      const qkv = linear(normalize(x, w.norm1, this.config), w.qkv);
      const heads = (part: number, norm?: Tensor): Tensor => {
        const view = narrow(qkv, 1, part * hiddenSize, hiddenSize);
        if (norm) return reshape(ops.rmsNorm(view, norm, queryKeyNormEps), [rows, numHeads, headDim]);
        return narrow(reshape(qkv, [rows, 3 * numHeads, headDim]), 1, part * numHeads, numHeads);
      };
      const rotate = (t: Tensor): Tensor => (rope ? ops.rope(t, rope.cos, rope.sin) : t);
      const attended = attend(
        rotate(heads(0, w.queryNorm)),
        rotate(heads(1, w.keyNorm)),
        heads(2),
        attentionDtype(w.qkv.weight),
      );
      this.#add(x, reshape(attended, [rows, hiddenSize]), w.output, w.attentionScale);
    });
    scope(() => {
      const inner = ops.activation(linear(normalize(x, w.norm2, this.config), w.up), activation);
      this.#add(x, inner, w.down, w.mlpScale);
    });
  }

  dispose(): void {
    dispose(this.weights);
  }

  /** x += scale · (rows · weightᵀ + bias) */
  #add(x: Tensor, rows: Tensor, { weight, bias }: LinearWeights, scale: Tensor | undefined): void {
    if (!scale) ops.matmul(rows, weight, { transposeB: true, bias, out: x, accumulate: true });
    else ops.addInPlace(x, ops.mul(linear(rows, { weight, bias }), scale));
  }
}
