import type { Activation, DType, ExtraKeys } from './native.js';
import { alias, cast, clone, dispose, keep, narrow, ops, reshape, scope } from './tensor.js';
import type { Pieces, Tensor } from './tensor.js';

/** A value on the tape, and after `backward` the gradient of the loss with respect to it. */
export class Variable {
  grad: Tensor | undefined;
  #rounded: Tensor | undefined;

  constructor(
    readonly value: Tensor,
    readonly requiresGrad: boolean,
  ) {}

  /** The value as a product with a weight of this type reads it; rounded once, however many weights read it. */
  operand(dtype: DType): Tensor {
    if (dtype !== 'bfloat16') return this.value;
    return (this.#rounded ??= cast(this.value, 'bfloat16'));
  }

  /** Adds a gradient that the caller gives away. */
  accumulate(gradient: Tensor): void {
    if (!this.requiresGrad) {
      dispose(gradient);
    } else if (this.grad === undefined) {
      this.grad = gradient;
    } else {
      ops.addInPlace(this.grad, gradient);
      dispose(gradient);
    }
  }
}

interface ParameterTensors {
  value: Tensor;
  compute: Tensor;
  grad: Tensor | undefined;
}

/** First one and number of them. */
type Span = readonly [first: number, count: number];

/**
 * A trained tensor: float32 master weights, a gradient that is added to over micro-batches, and the copy that products
 * read (the master itself, or its bfloat16 rounding, which the optimizer refreshes).
 */
export class Parameter extends Variable {
  /** Complete once {@link settleGrad} was called. */
  declare grad: Tensor;
  readonly compute: Tensor;
  #gradIsZero = false;
  /** How often the weights have changed. */
  #changes = 0;
  /** Of `compute` and of its transpose, as products read it, since which change. */
  readonly #panels: { panels: Tensor | undefined; changes: number }[] = [];

  private constructor(
    readonly name: string,
    { value, compute, grad }: ParameterTensors,
    /** Of which this is a part. */
    readonly whole?: Parameter,
  ) {
    super(value, grad !== undefined);
    this.compute = compute;
    if (grad) this.grad = grad;
  }

  /** Takes over `master`. `trained: false` makes a parameter for inference: no gradient is held. */
  static of(
    name: string,
    master: Tensor,
    options: { compute?: 'float32' | 'bfloat16'; trained?: boolean } = {},
  ): Parameter {
    return new Parameter(name, {
      value: keep(master),
      compute: options.compute === 'bfloat16' ? keep(cast(master, 'bfloat16')) : master,
      grad: (options.trained ?? true) ? keep(ops.zeros(master.shape, 'float32')) : undefined,
    });
  }

  /** Some rows and columns as a parameter that shares memory and gradient with the whole, which has to outlive it. */
  part(name: string, rows: Span, columns: Span = [0, this.value.shape[1]!]): Parameter {
    const part = (t: Tensor) => keep(scope(() => narrow(narrow(t, 0, ...rows), 1, ...columns)));
    const value = part(this.value);
    const compute = this.compute === this.value ? value : part(this.compute);
    return new Parameter(
      name,
      { value, compute, grad: this.requiresGrad ? part(this.grad) : undefined },
      this,
    );
  }

  /** `matmulPanels` of the weights, or of their transpose; made once until the weights change. */
  panels(transposed: boolean): Tensor | undefined {
    const { changes } = this;
    const kept = this.#panels[Number(transposed)];
    if (kept?.changes === changes) return kept.panels;
    dispose(kept?.panels);
    const panels = keep(ops.matmulPanels(this.compute, transposed));
    this.#panels[Number(transposed)] = { panels, changes };
    return panels;
  }

  private get changes(): number {
    return (this.whole ?? this).#changes;
  }

  /** Has to be called by who writes `value` and `compute`. */
  changed(): void {
    (this.whole ?? this).#changes += 1;
  }

  /** Forgets the gradient. Nothing is written yet: the first product overwrites it. */
  zeroGrad(): void {
    if (this.whole) this.whole.zeroGrad();
    else this.#gradIsZero = true;
  }

  /** Whether the next product adds to the gradient rather than overwriting it; it has to be one or the other. */
  accumulates(): boolean {
    this.whole?.settleGrad();
    const adds = !this.#gradIsZero;
    this.#gradIsZero = false;
    return adds;
  }

  /** Writes the zeros of a gradient that nothing was added to. */
  settleGrad(): Tensor {
    if (!this.accumulates()) this.grad.fill(0);
    return this.grad;
  }

  /** Replaces the weights. */
  load(source: Tensor): void {
    this.value.copyFrom(source);
    if (this.compute !== this.value) this.compute.copyFrom(source);
    this.changed();
  }

  dispose(): void {
    dispose(this.#panels.map(({ panels }) => panels));
    dispose(this.value);
    if (this.compute !== this.value) dispose(this.compute);
    if (this.requiresGrad) dispose(this.grad);
  }
}

/** Keys that a query sees beside its range; see {@link ExtraKeys}. */
export interface ExtraKeyVariables {
  k: Variable;
  v: Variable;
  rows: Tensor;
}

/** What a product with a weight of this type reads. */
const factor = (t: Tensor, dtype: DType): Tensor => (dtype === 'bfloat16' ? cast(t, dtype) : alias(t));

/** Rows after which products of a weight's gradient gain nothing from waiting for more. */
const enoughRows = 2048;

/**
 * Gradients of weights, dyᵀ·x, held back until many rows have come together: a step of the training-time test has few
 * rows, and each product would read and write the whole gradient for them.
 */
class WeightGradients {
  readonly #pending = new Map<Parameter, { dy: Tensor[]; x: Tensor[]; rows: number }>();

  /** Takes over `dy` [n, M]; `x` [n, K] has to live until {@link flush}. */
  add(weight: Parameter, dy: Tensor, x: Tensor): void {
    const pending = this.#pending.get(weight) ?? { dy: [], x: [], rows: 0 };
    this.#pending.set(weight, pending);
    pending.dy.push(dy);
    pending.x.push(x);
    pending.rows += x.shape[0]!;
    if (pending.rows >= enoughRows) this.#multiply(weight);
  }

  flush(): void {
    for (const weight of [...this.#pending.keys()]) this.#multiply(weight);
  }

  #multiply(weight: Parameter): void {
    const { dy, x } = this.#pending.get(weight)!;
    this.#pending.delete(weight);
    ops.matmulTransposed(dy, x, { out: weight.grad, accumulate: weight.accumulates() });
    dispose(dy);
  }
}

/**
 * Records operations and runs them backwards. Every method computes its value at once; with `record: false` nothing is
 * kept, so the same model code serves inference. Tensors belong to the surrounding `scope`.
 */
export class Tape {
  readonly #nodes: (() => void)[] = [];
  readonly #weightGradients = new WeightGradients();

  constructor(readonly record = true) {}

  /** A value without gradient. */
  constant(value: Tensor): Variable {
    return new Variable(value, false);
  }

  /**
   * x [N,K] · weightᵀ, weight [M,K] → [N,M].
   * @param onto is added; the result is written over its value, which nothing else may read
   */
  linear(x: Variable, weight: Parameter, onto?: Variable): Variable {
    const { dtype } = weight.compute;
    const options = { transposeB: true, panels: weight.panels(true) };
    const value = onto ? alias(onto.value) : ops.matmul(x.operand(dtype), weight.compute, options);
    if (onto) ops.matmul(x.operand(dtype), weight.compute, { ...options, out: value, accumulate: true });
    return this.#node(value, onto ? [x, weight, onto] : [x, weight], (dy) => {
      const rounded = factor(dy, dtype);
      if (x.requiresGrad) {
        const panels = weight.panels(false);
        if (x.grad === undefined) x.grad = ops.matmul(rounded, weight.compute, { panels });
        else ops.matmul(rounded, weight.compute, { panels, out: x.grad, accumulate: true });
      }
      if (weight.requiresGrad) this.#weightGradients.add(weight, rounded, x.operand(dtype));
      else dispose(rounded);
      onto?.accumulate(alias(dy));
    });
  }

  /**
   * RMSNorm(x) · weightᵀ for rows x [N,K] without gradient: one product gives the gradients of both weights, and that of the
   * normed rows is never made.
   */
  normedLinear(x: Tensor, norm: Parameter, eps: number, weight: Parameter): Variable {
    const { dtype } = weight.compute;
    const unit = ops.rmsNorm(x, undefined, eps);
    const normed = ops.mul(unit, norm.value);
    const [read, kept] = [factor(normed, dtype), factor(unit, dtype)];
    const value = ops.matmul(read, weight.compute, { transposeB: true, panels: weight.panels(true) });
    dispose([unit, normed, read]);
    return this.#node(value, [norm, weight], (dy) => {
      const g = ops.matmulTransposed([factor(dy, dtype)], [kept]);
      ops.foldedNormBackward(g, weight.compute, norm.value, weight.settleGrad(), norm.settleGrad());
    });
  }

  rmsNorm(x: Variable, weight: Parameter, eps: number): Variable {
    const value = ops.rmsNorm(x.value, weight.value, eps);
    return this.#node(value, [x, weight], (dy) => {
      const dweight = weight.requiresGrad ? weight.settleGrad() : undefined;
      x.accumulate(ops.rmsNormBackward(dy, x.value, weight.value, eps, dweight));
    });
  }

  add(a: Variable, b: Variable): Variable {
    return this.#node(ops.add(a.value, b.value), [a, b], (dy) => {
      if (a.requiresGrad) a.accumulate(clone(dy));
      b.accumulate(alias(dy));
    });
  }

  /** act(gate)·up of x [N, 2I], whose halves are gate and up. */
  gatedActivation(x: Variable, kind: Activation): Variable {
    const width = x.value.shape[1]! / 2;
    const [gate, up] = [narrow(x.value, 1, 0, width), narrow(x.value, 1, width, width)];
    return this.#node(ops.gatedActivation(gate, up, kind), [x], (dy) => {
      const dx = ops.zeros(x.value.shape, 'float32');
      ops.gatedActivationBackward(dy, gate, up, kind, dx);
      x.accumulate(dx);
    });
  }

  /** Rows of all of them, one after the other. */
  catRows(parts: readonly Variable[]): Variable {
    if (parts.length === 1) return parts[0]!;
    return this.#node(
      ops.cat(
        parts.map((part) => part.value),
        0,
      ),
      parts,
      (dy) => {
        let row = 0;
        for (const part of parts) {
          const rows = part.value.shape[0]!;
          if (part.requiresGrad) part.accumulate(clone(narrow(dy, 0, row, rows)));
          row += rows;
        }
      },
    );
  }

  /** Rows of x named by int32 ids, each at most once; of x [N,K] the first `width` columns. */
  gatherRows(x: Variable, ids: Tensor, width?: number): Variable {
    const part = (t: Tensor) => (width === undefined ? alias(t) : narrow(t, 1, 0, width));
    return this.#node(ops.gatherRows(part(x.value), ids), [x], (dy) => {
      if (x.grad === undefined) x.grad = ops.zeros(x.value.shape, 'float32');
      ops.scatterAddRows(part(x.grad), ids, dy);
    });
  }

  /** [N, Σ counts·D] → [N, count, D] for each of them: views of x. */
  splitHeads(x: Variable, ...counts: number[]): Variable[] {
    const [rows, width] = x.value.shape as [number, number];
    const heads = counts.reduce((sum, count) => sum + count, 0);
    const all = reshape(x.value, [rows, heads, width / heads]);
    let first = 0;
    const parts = counts.map((count) => {
      first += count;
      return new Variable(narrow(all, 1, first - count, count), this.record && x.requiresGrad);
    });
    if (this.record && x.requiresGrad) {
      this.#nodes.push(() => {
        const gradients = parts.map(({ value, grad }) => grad ?? ops.zeros(value.shape, 'float32'));
        const whole = gradients.length === 1 ? gradients[0]! : ops.cat(gradients, 1);
        x.accumulate(reshape(whole, [rows, width]));
        dispose([whole, gradients]);
      });
    }
    return parts;
  }

  /** [N, heads, D] → [N, heads·D]. */
  mergeHeads(x: Variable): Variable {
    const shape = x.value.shape as [number, number, number];
    return this.#node(reshape(x.value, [shape[0], shape[1] * shape[2]]), [x], (dy) => {
      x.accumulate(reshape(dy, shape));
    });
  }

  /** Rotates x [N, heads, D] by the tables of `ops.ropeTables`. */
  rope(x: Variable, cos: Tensor, sin: Tensor): Variable {
    return this.#node(ops.rope(x.value, cos, sin), [x], (dy) => {
      x.accumulate(ops.rope(dy, cos, sin, true));
    });
  }

  /** Attention over key ranges and extra keys, with products in `dtype`; see `attention` of the addon. */
  attention(
    q: Variable,
    k: Variable,
    v: Variable,
    begin: Tensor,
    end: Tensor,
    extras: readonly ExtraKeyVariables[] = [],
    dtype: 'float32' | 'bfloat16' = 'float32',
  ): Variable {
    const options = {
      dtype,
      extras: extras.map((extra): ExtraKeys => ({ k: extra.k.value, v: extra.v.value, rows: extra.rows })),
    };
    const { out, lse } = ops.attention(q.value, k.value, v.value, begin, end, options);
    const inputs = [q, k, v, ...extras.flatMap((extra) => [extra.k, extra.v])];
    return this.#node(out, inputs, (dy) => {
      const grads = ops.attentionBackward(dy, q.value, k.value, v.value, out, lse, begin, end, options);
      q.accumulate(grads.dq);
      k.accumulate(grads.dk);
      v.accumulate(grads.dv);
      extras.forEach((extra, i) => {
        extra.k.accumulate(grads.extras[i]!.dk);
        extra.v.accumulate(grads.extras[i]!.dv);
      });
    });
  }

  /**
   * Σ over rows of scales · soft cross-entropy between teacher rows and x·weightᵀ. Returns the unscaled losses and the
   * argmax of every row; the gradient is computed on the way, so nothing of width V is kept.
   * @param scales float32 [n]; not read by a tape that does not record
   */
  linearSoftCrossEntropy(
    x: Variable,
    weight: Parameter,
    teacher: Tensor,
    teacherRows: Tensor,
    scales: Tensor,
  ): { losses: Tensor; argmax: Tensor } {
    if (!this.record) return ops.linearSoftCrossEntropy(x.value, weight.compute, teacher, teacherRows);
    const { losses, argmax, dx } = ops.linearSoftCrossEntropy(
      x.value,
      weight.compute,
      teacher,
      teacherRows,
      scales,
      weight.requiresGrad ? weight.grad : undefined,
      weight.requiresGrad && weight.accumulates(),
    );
    this.#nodes.push(() => {
      x.accumulate(dx);
    });
    return { losses, argmax };
  }

  /** Runs the recorded operations backwards, from the losses to the parameters; the tape is empty afterwards. */
  *backward(): Pieces<void> {
    for (let node = this.#nodes.pop(); node !== undefined; node = this.#nodes.pop()) {
      node();
      yield;
    }
    this.#weightGradients.flush();
  }

  #node(value: Tensor, inputs: readonly Variable[], backward: (dy: Tensor) => void): Variable {
    const output = new Variable(value, this.record && inputs.some((input) => input.requiresGrad));
    if (output.requiresGrad) {
      this.#nodes.push(() => {
        if (output.grad === undefined) return;
        backward(output.grad);
        dispose(output.grad);
        output.grad = undefined;
      });
    }
    return output;
  }
}
