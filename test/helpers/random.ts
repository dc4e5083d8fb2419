import { randomStream } from '../../lib/training/random.js';

/** Seeded draws for tests. */
export class Draws {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomStream(seed, 0);
  }

  uniform(): number {
    return this.#next();
  }

  /** from ≤ n < below */
  int(from: number, below: number): number {
    return from + Math.floor(this.#next() * (below - from));
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#next())) * Math.cos(2 * Math.PI * this.#next());
  }

  normals(count: number, std = 1): Float32Array {
    return Float32Array.from({ length: count }, () => std * this.normal());
  }
}
