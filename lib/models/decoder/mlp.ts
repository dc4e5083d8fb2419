import type { Activation } from '../../native.js';
import { dispose, keep, ops, type Tensor } from '../../tensor.js';
import type { Workspace } from './layer.js';

/** Feed-forward part of a layer. */
export interface Mlp {
  /** Adds its output for the normed rows in `buffers` to the residual stream `x` [N, H] in place. */
  forward(x: Tensor, buffers: Workspace): void;
}

/** Weights of a gated MLP, matrices as [out, in]; H hidden, I intermediate. Biases are float32. */
export interface DenseMlpWeights {
  kind: 'dense';
  /** [2·I, H]: rows of gate and up one after the other. */
  gateUp: Tensor;
  gateUpBias?: Tensor;
  /** [H, I] */
  down: Tensor;
  downBias?: Tensor;
}

/** Buffers of a gated MLP for N rows. */
export class MlpBuffers {
  /** [N, 2·I]; gate and up [N, I] are its halves. */
  readonly gateUp: Tensor;
  readonly gate: Tensor;
  readonly up: Tensor;
  /** [N, I] */
  readonly gated: Tensor;

  constructor(rows: number, intermediateSize: number) {
    this.gateUp = keep(ops.zeros([rows, 2 * intermediateSize], 'float32'));
    this.gate = this.gateUp.narrow(1, 0, intermediateSize);
    this.up = this.gateUp.narrow(1, intermediateSize, intermediateSize);
    this.gated = keep(ops.zeros([rows, intermediateSize], 'float32'));
  }

  dispose(): void {
    const { gateUp, gate, up, gated } = this;
    dispose([gateUp, gate, up, gated]);
  }
}

/** down · (act(gate · x) · (up · x)) */
export class DenseMlp implements Mlp {
  /** Keeps the weights; who gave them disposes them. */
  constructor(
    private readonly activation: Activation,
    private readonly weights: DenseMlpWeights,
  ) {
    keep(weights);
  }

  forward(x: Tensor, buffers: Workspace): void {
    const { gateUp, gateUpBias, down, downBias } = this.weights;
    const { gateUp: both, gate, up, gated } = buffers.mlp;
    ops.matmul(buffers.normed, gateUp, { transposeB: true, bias: gateUpBias, out: both });
    ops.gatedActivation(gate, up, this.activation, gated);
    ops.matmul(gated, down, { transposeB: true, bias: downBias, out: x, accumulate: true });
  }
}
