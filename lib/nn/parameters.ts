import { Parameter } from '../autograd.js';
import type { Tensor } from '../tensor.js';

/** The parameters of a model by name, in the order in which they were made. */
export class ParameterSet {
  readonly #parameters = new Map<string, Parameter>();

  constructor(readonly options: { compute: 'float32' | 'bfloat16'; trained: boolean }) {}

  /** Adds a matrix, which products read in the compute type; takes over `master`. */
  matrix(name: string, master: Tensor): Parameter {
    return this.#add(new Parameter(name, master, this.options));
  }

  /** Adds a vector (a norm's weight), always read in float32; takes over `master`. */
  vector(name: string, master: Tensor): Parameter {
    return this.#add(new Parameter(name, master, { trained: this.options.trained }));
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
    for (const parameter of this) parameter.dispose();
    this.#parameters.clear();
  }
}
