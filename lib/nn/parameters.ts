import { Parameter } from '../autograd.js';
import { dispose, ops, scope, type Tensor } from '../tensor.js';

/** The parameters of a model by name, in the order in which they were made. */
export class ParameterSet {
  readonly #parameters = new Map<string, Parameter>();
  /** Those whose rows are parameters of the set. */
  readonly #wholes: Parameter[] = [];

  constructor(readonly options: { compute: 'float32' | 'bfloat16'; trained: boolean }) {}

  /** Adds a matrix, which products read in the compute type; takes over `master`. */
  matrix(name: string, master: Tensor): Parameter {
    return this.#add(Parameter.of(name, master, this.options));
  }

  /**
   * Adds matrices of as many columns that lie one after the other, so that one product reads several of them; takes over
   * `masters`. Returns all rows as one parameter, which is not itself in the set.
   */
  stack(masters: Readonly<Record<string, Tensor>>): Parameter {
    const parts = Object.entries(masters);
    const whole = Parameter.of(
      parts.map(([name]) => name).join('+'),
      scope(() => ops.cat(Object.values(masters), 0)),
      this.options,
    );
    this.#wholes.push(whole);
    let first = 0;
    for (const [name, { shape }] of parts) {
      this.#add(whole.part(name, [first, shape[0]!]));
      first += shape[0]!;
    }
    dispose(masters);
    return whole;
  }

  /** Adds a vector (a norm's weight), always read in float32; takes over `master`. */
  vector(name: string, master: Tensor): Parameter {
    return this.#add(Parameter.of(name, master, { trained: this.options.trained }));
  }

  #add(parameter: Parameter): Parameter {
    this.#parameters.set(parameter.name, parameter);
    return parameter;
  }

  [Symbol.iterator](): IterableIterator<Parameter> {
    return this.#parameters.values();
  }

  get(name: string): Parameter | undefined {
    return this.#parameters.get(name);
  }

  /** Master weights by name. */
  tensors(): Record<string, Tensor> {
    return Object.fromEntries([...this].map((p) => [p.name, p.value]));
  }

  zeroGrad(): void {
    for (const parameter of this) parameter.zeroGrad();
  }

  dispose(): void {
    for (const parameter of [...this, ...this.#wholes]) parameter.dispose();
    this.#parameters.clear();
    this.#wholes.length = 0;
  }
}
