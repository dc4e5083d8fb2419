import type { Activation } from '../../native.js';
import { dispose, keep, ops, scope, type Tensor } from '../../tensor.js';
import type { RopeTables } from '../rotary.js';
import { DenseMlp, MlpBuffers, type DenseMlpWeights, type Mlp } from './mlp.js';
import { SparseMlp, type SparseMlpWeights } from './moe.js';

/** Sizes that a pre-norm transformer layer needs beside its weights. */
export interface LayerConfig {
  hiddenSize: number;
  numHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  /** Of dense MLPs. */
  intermediateSize: number;
  rmsNormEps: number;
  /** Of the gate of the MLP, or of the experts. */
  activation: Activation;
}

/** Weights of a layer, matrices as [out, in]; H hidden, D head size. Biases are float32. */
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
  mlp: DenseMlpWeights | SparseMlpWeights;
}

/** Attends with rotated q [N, heads, D] to k and v [N, kvHeads, D], or to more keys that it knows, into out [N, heads, D]. */
export type Attend = (q: Tensor, k: Tensor, v: Tensor, out: Tensor) => void;

/** Buffers for N rows that the layers of one pass write in turn. q, k and v are views of the product. */
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
  readonly #intermediateSize: number;
  #mlp: MlpBuffers | undefined;

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
    this.#intermediateSize = intermediateSize;
  }

  /** Made when a dense MLP first asks: a decoder of experts alone needs none. */
  get mlp(): MlpBuffers {
    return (this.#mlp ??= new MlpBuffers(this.rows, this.#intermediateSize));
  }

  dispose(): void {
    const { normed, qkv, q, k, v, rotatedQ, rotatedK, attended, merged } = this;
    dispose([normed, qkv, q, k, v, rotatedQ, rotatedK, attended, merged]);
    this.#mlp?.dispose();
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

/** Pre-norm transformer layer: RMSNorm, rotary attention with grouped keys, RMSNorm, gated MLP or mixture of experts. */
export class TransformerLayer {
  readonly #weights: Omit<LayerWeights, 'mlp'>;
  readonly #mlp: Mlp;

  /** Keeps the weights; who gave them disposes them. */
  constructor(
    private readonly config: LayerConfig,
    { mlp, ...weights }: LayerWeights,
  ) {
    keep(weights);
    this.#weights = weights;
    this.#mlp =
      mlp.kind === 'dense' ? new DenseMlp(config.activation, mlp) : new SparseMlp(config.activation, mlp);
  }

  /** Adds attention and MLP to the residual stream `x` [N, H] in place. */
  forward(x: Tensor, { cos, sin }: RopeTables, attend: Attend, buffers: Workspace): void {
    const { rmsNormEps: eps } = this.config;
    const { normed, rotatedQ, rotatedK, attended, merged } = buffers;
    const w = this.#weights;
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
      this.#mlp.forward(x, buffers);
    });
  }
}
