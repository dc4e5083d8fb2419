import type { Activation } from '../../native.js';
import { keep, ops, type Tensor } from '../../tensor.js';
import type { Workspace } from './layer.js';
import type { Mlp } from './mlp.js';

/** Weights of a mixture of E experts, each a gated MLP without biases; H hidden, I intermediate of an expert. */
export interface SparseMlpWeights {
  kind: 'sparse';
  /** [E, H] */
  router: Tensor;
  /** [E, 2·I, H]: rows of gate and up one after the other. */
  gateUp: Tensor;
  /** [E, H, I] */
  down: Tensor;
  expertsPerToken: number;
  /** Whether a token's expert weights are divided by their sum. */
  normTopkProb: boolean;
}

/** Mixture of experts: each row goes through the experts that the router finds most probable for it. */
export class SparseMlp implements Mlp {
  /** Keeps the weights; who gave them disposes them. */
  constructor(
    private readonly activation: Activation,
    private readonly weights: SparseMlpWeights,
  ) {
    keep(weights);
  }

  forward(x: Tensor, { normed }: Workspace): void {
    const { router, gateUp, down, expertsPerToken, normTopkProb } = this.weights;
    const logits = ops.matmul(normed, router, { transposeB: true });
    const routing = ops.routeTopK(logits, expertsPerToken, normTopkProb);
    ops.expertMlp(normed, routing, gateUp, down, { activation: this.activation, out: x, accumulate: true });
  }
}
