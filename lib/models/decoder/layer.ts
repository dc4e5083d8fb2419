import type { Activation } from '../../native.js';
import { dispose, keep, ops, scope, type Tensor } from '../../tensor.js';
import type { RopeTables } from '../rotary.js';

/** Sizes that a pre-norm transformer layer needs beside its weights. */
export interface LayerConfig {
  hiddenSize: number;
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

/** Attends with rotated q [N, heads, D] to k and v [N, kvHeads, D], or to more keys that it knows, into out [N, heads, D]. */
export type Attend = (q: Tensor, k: Tensor, v: Tensor, out: Tensor) => void;

/** Buffers for N rows that the layers of one pass write in turn. q, k, v, gate and up are views of the products. */
export class Workspace {
  /** [N, (heads + 2·kvHeads)·D]; q [N, heads, D], k and v [N, kvHeads, D] are its parts. */
  readonly qkv: Tensor;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** [N, H]: what a product reads. */
  readonly normed: Tensor;
  /** [N, heads, D] and [N, kvHeads, D] */
  readonly rotatedQ: Tensor;
  readonly rotatedK: Tensor;
  /** [N, heads, D]; merged [N, heads·D] is the same memory. */
  readonly attended: Tensor;
  readonly merged: Tensor;
  /** [N, 2·I]; gate and up [N, I] are its halves. */
  readonly gateUp: Tensor;
  readonly gate: Tensor;
  readonly up: Tensor;
  /** [N, I] */
  readonly gated: Tensor;

  constructor(
    readonly rows: number,
    { hiddenSize, numHeads, numKeyValueHeads, headDim, intermediateSize }: LayerConfig,
  ) {
    const heads = numHeads + 2 * numKeyValueHeads;
    const floats = (...shape: number[]): Tensor => keep(ops.zeros([rows, ...shape], 'float32'));
    this.normed = floats(hiddenSize);
    this.qkv = floats(heads * headDim);
    const split = this.qkv.reshape([rows, heads, headDim]);
    this.q = split.narrow(1, 0, numHeads);
    this.k = split.narrow(1, numHeads, numKeyValueHeads);
    this.v = split.narrow(1, numHeads + numKeyValueHeads, numKeyValueHeads);
    split.dispose();
    this.rotatedQ = floats(numHeads, headDim);
    this.rotatedK = floats(numKeyValueHeads, headDim);
    this.attended = floats(numHeads, headDim);
    this.merged = this.attended.reshape([rows, numHeads * headDim]);
    this.gateUp = floats(2 * intermediateSize);
    this.gate = this.gateUp.narrow(1, 0, intermediateSize);
    this.up = this.gateUp.narrow(1, intermediateSize, intermediateSize);
    this.gated = floats(intermediateSize);
  }

  dispose(): void {
    const { normed, qkv, q, k, v, rotatedQ, rotatedK, attended, merged, gateUp, gate, up, gated } = this;
    dispose([normed, qkv, q, k, v, rotatedQ, rotatedK, attended, merged, gateUp, gate, up, gated]);
  }
}

/** Buffers for so many rows are kept from one pass to the next. */
const keptRows = 16;

/** Workspaces of passes of one decoder. */
export class Workspaces {
  readonly #kept: (Workspace | undefined)[] = [];

  constructor(private readonly config: LayerConfig) {}

  /** Runs a pass with buffers for its rows. */
  use<T>(rows: number, pass: (buffers: Workspace) => T): T {
    if (rows <= keptRows) return pass((this.#kept[rows] ??= new Workspace(rows, this.config)));
    const buffers = new Workspace(rows, this.config);
    try {
      return pass(buffers);
    } finally {
      buffers.dispose();
    }
  }

  dispose(): void {
    for (const workspace of this.#kept) workspace?.dispose();
    this.#kept.length = 0;
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
    const { rmsNormEps: eps, activation } = this.config;
    const { normed, rotatedQ, rotatedK, attended, merged, gated } = buffers;
    const w = this.weights;
    scope(() => {
      ops.rmsNorm(x, w.inputNorm, eps, normed);
      ops.matmul(normed, w.qkv, { transposeB: true, bias: w.qkvBias, out: buffers.qkv });
      const q = w.queryNorm ? ops.rmsNorm(buffers.q, w.queryNorm, eps) : buffers.q;
      const k = w.keyNorm ? ops.rmsNorm(buffers.k, w.keyNorm, eps) : buffers.k;
      ops.rope(q, cos, sin, false, rotatedQ);
      ops.rope(k, cos, sin, false, rotatedK);
      attend(rotatedQ, rotatedK, buffers.v, attended);
      ops.matmul(merged, w.output, { transposeB: true, bias: w.outputBias, out: x, accumulate: true });

      ops.rmsNorm(x, w.postAttentionNorm, eps, normed);
      ops.matmul(normed, w.gateUp, { transposeB: true, bias: w.gateUpBias, out: buffers.gateUp });
      ops.gatedActivation(buffers.gate, buffers.up, activation, gated);
      ops.matmul(gated, w.down, { transposeB: true, bias: w.downBias, out: x, accumulate: true });
    });
  }

  dispose(): void {
    dispose(this.weights);
  }
}
