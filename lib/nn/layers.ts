import type { Parameter, Tape, Variable } from '../autograd.js';

/** y = x·Wᵀ, W [out, in], no bias. */
export class Linear {
  constructor(readonly weight: Parameter) {}

  /** @param onto see {@link Tape.linear} */
  forward(tape: Tape, x: Variable, onto?: Variable): Variable {
    return tape.linear(x, this.weight, onto);
  }
}

/** y = x / √(mean(x²) + eps) · w over the last dimension. */
export class RMSNorm {
  constructor(
    readonly weight: Parameter,
    readonly eps: number,
  ) {}

  forward(tape: Tape, x: Variable): Variable {
    return tape.rmsNorm(x, this.weight, this.eps);
  }
}

/** down(silu(gate(x)) · up(x)), gate and up being the halves of one product. */
export class SwiGLU {
  constructor(
    readonly gateUp: Linear,
    readonly down: Linear,
  ) {}

  forward(tape: Tape, x: Variable): Variable {
    return this.down.forward(tape, tape.gatedActivation(this.gateUp.forward(tape, x), 'silu'));
  }
}
