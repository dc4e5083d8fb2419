import type { Parameter } from '../autograd.js';
import type { ParameterSet } from '../nn/parameters.js';
import { dispose, keep, ops, type Tensor } from '../tensor.js';

export interface AdamWConfig {
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
}

/** AdamW (Loshchilov & Hutter 2019) with float32 master weights and moments; refreshes the rounded copies in one pass. */
export class AdamW {
  /** Updates so far. */
  steps = 0;
  readonly #parameters: Parameter[];
  readonly #m: Tensor[];
  readonly #v: Tensor[];

  constructor(
    parameters: ParameterSet,
    readonly config: AdamWConfig,
  ) {
    this.#parameters = [...parameters];
    this.#m = this.#parameters.map((p) => keep(ops.zeros(p.value.shape, 'float32')));
    this.#v = this.#parameters.map((p) => keep(ops.zeros(p.value.shape, 'float32')));
  }

  /** Global gradient norm over all parameters. */
  gradNorm(): number {
    return ops.gradNorm(this.#parameters.map((p) => p.settleGrad()));
  }

  /** One update; gradients are multiplied by `gradScale` first. */
  step(lr: number, gradScale: number): void {
    this.steps += 1;
    ops.adamW(
      this.#parameters.map((p) => p.value),
      this.#parameters.map((p) => p.settleGrad()),
      this.#m,
      this.#v,
      this.#parameters.map((p) => (p.compute === p.value ? undefined : p.compute)),
      {
        lr,
        beta1: this.config.betas[0],
        beta2: this.config.betas[1],
        eps: this.config.eps,
        weightDecay: this.config.weightDecay,
        step: this.steps,
        gradScale,
      },
    );
    for (const p of this.#parameters) p.changed();
  }

  /** Moments by parameter name, `<name>.m` and `<name>.v`. */
  tensors(): Record<string, Tensor> {
    return Object.fromEntries(
      this.#parameters.flatMap((p, i) => [
        [`${p.name}.m`, this.#m[i]!],
        [`${p.name}.v`, this.#v[i]!],
      ]),
    );
  }

  /** Restores what `tensors` gave, and the number of updates. */
  load(tensors: Record<string, Tensor>, steps: number): void {
    this.steps = steps;
    for (const [name, tensor] of Object.entries(this.tensors())) {
      const source = tensors[name];
      if (!source) throw new Error(`optimizer state: expected tensor ${name}, received none`);
      tensor.copyFrom(source);
    }
  }

  dispose(): void {
    dispose([this.#m, this.#v]);
  }
}
