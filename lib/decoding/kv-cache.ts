import type { KVCache } from '../models/target.js';
import { dispose, keep, narrow, ops, scope, type Tensor } from '../tensor.js';

/** Sizes of a cache: a target makes caches of its own sizes only. */
export interface KVCacheShape {
  numLayers: number;
  numKeyValueHeads: number;
  headDim: number;
}

const firstCapacity = 64;

/** Rotated keys and values of one sequence, per layer float32 [capacity, kvHeads, D]; rows from `length` on are free. */
export class DecoderCache implements KVCache {
  /** One per layer; replaced when the cache grows. */
  readonly keys: Tensor[] = [];
  readonly values: Tensor[] = [];
  #length = 0;
  #capacity = 0;

  constructor(readonly shape: KVCacheShape) {}

  /** Number of tokens stored. */
  get length(): number {
    return this.#length;
  }

  /** Number of tokens that fit before the next growth. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Makes room for `tokens` in all, at least doubling when it must grow. */
  reserve(tokens: number): void {
    if (tokens <= this.#capacity) return;
    const capacity = Math.max(tokens, 2 * this.#capacity, firstCapacity);
    const { numLayers, numKeyValueHeads, headDim } = this.shape;
    const grow = (tensors: Tensor[], layer: number): void => {
      const old = tensors[layer];
      tensors[layer] = scope(() => {
        const grown = ops.zeros([capacity, numKeyValueHeads, headDim], 'float32');
        if (old && this.#length > 0)
          narrow(grown, 0, 0, this.#length).copyFrom(narrow(old, 0, 0, this.#length));
        return grown;
      });
      keep(tensors[layer]);
      dispose(old);
    };
    for (let layer = 0; layer < numLayers; layer++) {
      grow(this.keys, layer);
      grow(this.values, layer);
    }
    this.#capacity = capacity;
  }

  /** Writes k and v [n, kvHeads, D] of a layer behind the tokens stored; they count after {@link extend}. */
  write(layer: number, k: Tensor, v: Tensor, row = this.#length): void {
    scope(() => {
      const rows = k.shape[0]!;
      narrow(this.keys[layer]!, 0, row, rows).copyFrom(k);
      narrow(this.values[layer]!, 0, row, rows).copyFrom(v);
    });
  }

  /** Counts `tokens` rows, written in every layer, as stored. */
  extend(tokens: number): void {
    this.#length += tokens;
  }

  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.#length) {
      throw new RangeError(`[truncate] expected a length from 0 to ${this.#length}, received ${length}`);
    }
    this.#length = length;
  }

  dispose(): void {
    dispose([this.keys, this.values]);
    this.keys.length = 0;
    this.values.length = 0;
    this.#length = 0;
    this.#capacity = 0;
  }
}
