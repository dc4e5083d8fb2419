import type { Activation } from '../../native.js';
import { dispose, keep, ops, reshape, scope, type Tensor } from '../../tensor.js';
import type { RopeTables } from '../rotary.js';

/** Sizes that a pre-norm transformer layer needs beside its weights. */
export interface LayerConfig {
  numHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  intermediateSize: number;
  rmsNormEps: number;
  /** Of the gate of the MLP. */
  activation: Activation;
}

/** Weights of a layer, matrices as [out, in]; H hidden, D head size, I intermediate. Biases are float32. */
export interface LayerWeights {
  /** [H] */
  inputNorm: Tensor;
  /** [(heads + 2·kvHeads)·D, H]: rows of q, k and v one after another. */
  qkv: Tensor;
  qkvBias?: Tensor;
  /** [D]: RMS norms of every head of q and k, before rotation. */
  queryNorm?: Tensor;
  keyNorm?: Tensor;
  /** [H, heads·D] */
  output: Tensor;
  outputBias?: Tensor;
  /** [H] */
  postAttentionNorm: Tensor;
  /** [2·I, H]: rows of gate and up one after the other. */
  gateUp: Tensor;
  gateUpBias?: Tensor;
  /** [H, I] */
  down: Tensor;
  downBias?: Tensor;
}

/** Attends with rotated q [N, heads, D] to k and v [N, kvHeads, D], or to more keys that it knows → [N, heads, D]. */
export type Attend = (q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** Buffers for N rows that the layers of one pass write in turn. q, k, v, gate and up are views of the products. */
export class Workspace {
  /** [N, (heads + 2·kvHeads)·D]; q [N, heads, D], k and v [N, kvHeads, D] are its parts. */
  readonly qkv: Tensor;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** [N, 2·I]; gate and up [N, I] are its halves. */
  readonly gateUp: Tensor;
  readonly gate: Tensor;
  readonly up: Tensor;

  constructor(
    readonly rows: number,
    { numHeads, numKeyValueHeads, headDim, intermediateSize }: LayerConfig,
  ) {
    const heads = numHeads + 2 * numKeyValueHeads;
    this.qkv = keep(ops.zeros([rows, heads * headDim], 'float32'));
    const split = this.qkv.reshape([rows, heads, headDim]);
    this.q = split.narrow(1, 0, numHeads);
    this.k = split.narrow(1, numHeads, numKeyValueHeads);
    this.v = split.narrow(1, numHeads + numKeyValueHeads, numKeyValueHeads);
    split.dispose();
    this.gateUp = keep(ops.zeros([rows, 2 * intermediateSize], 'float32'));
    this.gate = this.gateUp.narrow(1, 0, intermediateSize);
    this.up = this.gateUp.narrow(1, intermediateSize, intermediateSize);
  }

  dispose(): void {
    dispose([this.qkv, this.q, this.k, this.v, this.gateUp, this.gate, this.up]);
  }
}

/** Pre-norm transformer layer: RMSNorm, rotary attention with grouped keys, RMSNorm, gated MLP. */
export class TransformerLayer {
  /** Takes over the weights. */
  constructor(
    private readonly config: LayerConfig,
    private readonly weights: LayerWeights,
  ) {
    for (const weight of Object.values(weights) as Tensor[]) keep(weight);
  }

  /** Adds attention and MLP to the residual stream `x` [N, H] in place. */
  forward(x: Tensor, { cos, sin }: RopeTables, attend: Attend, buffers: Workspace): void {
    const { rmsNormEps: eps, numHeads, headDim, activation } = this.config;
    const w = this.weights;
    scope(() => {
      const input = ops.rmsNorm(x, w.inputNorm, eps);
      ops.matmul(input, w.qkv, { transposeB: true, bias: w.qkvBias, out: buffers.qkv });
      const q = w.queryNorm ? ops.rmsNorm(buffers.q, w.queryNorm, eps) : buffers.q;
      const k = w.keyNorm ? ops.rmsNorm(buffers.k, w.keyNorm, eps) : buffers.k;
      const attended = attend(ops.rope(q, cos, sin), ops.rope(k, cos, sin), buffers.v);
      const merged = reshape(attended, [buffers.rows, numHeads * headDim]);
      ops.matmul(merged, w.output, { transposeB: true, bias: w.outputBias, out: x, accumulate: true });

      const middle = ops.rmsNorm(x, w.postAttentionNorm, eps);
      ops.matmul(middle, w.gateUp, { transposeB: true, bias: w.gateUpBias, out: buffers.gateUp });
      const gated = ops.gatedActivation(buffers.gate, buffers.up, activation);
      ops.matmul(gated, w.down, { transposeB: true, bias: w.downBias, out: x, accumulate: true });
    });
  }

  dispose(): void {
    dispose(this.weights);
  }
}
