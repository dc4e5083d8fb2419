import { clone, dispose, keep, narrow, ops, reshape, scope, tensor, type Tensor } from '../../tensor.js';
import type { EncoderAttend } from '../encoder/layer.js';

/** Relative positions of a layer: row i − j + size − 1 for a query at i and a key at j on the axis, [2·size − 1, D]. */
export interface RelativeWeights {
  height: Tensor;
  width: Tensor;
}

/**
 * Windows of a map of `side` × `side` rows. Those at the lower and right edge are filled up with rows of zeros, which
 * are keys like any other.
 */
export class Windows {
  /** int32 [W·size²]: the row at every place of every window; side² at places beyond the edge. */
  readonly rows: Tensor;
  /** int32 [side²]: rows of the map in the order of windows, and the place of each row in that order. */
  readonly order: Tensor;
  readonly places: Tensor;
  /** int32 [side²]: the places that the rows see, in the order of windows. */
  readonly begin: Tensor;
  readonly end: Tensor;
  /** float32 [W·size², heads, 2·size]: one where a place's row, and its column, are in the window. */
  readonly axes: Tensor;

  /** @param size of a window's side; `side` for one that is the map */
  constructor(
    readonly side: number,
    readonly size: number,
    heads: number,
  ) {
    const across = Math.ceil(side / size);
    const area = size ** 2;
    const rows = new Int32Array(across ** 2 * area);
    const axes = new Float32Array(rows.length * heads * 2 * size);
    for (let at = 0; at < rows.length; at++) {
      const [window, place] = [Math.floor(at / area), at % area];
      const [y, x] = [Math.floor(place / size), place % size];
      const row = Math.floor(window / across) * size + y;
      const column = (window % across) * size + x;
      rows[at] = row < side && column < side ? row * side + column : side ** 2;
      for (let head = 0; head < heads; head++) {
        const start = (at * heads + head) * 2 * size;
        axes[start + y] = 1;
        axes[start + size + x] = 1;
      }
    }
    const kept = [...rows.keys()].filter((at) => rows[at]! < side ** 2);
    const order = kept.map((at) => rows[at]!);
    const places = new Int32Array(order.length);
    order.forEach((row, place) => (places[row] = place));
    const ints = (values: Iterable<number>): Tensor => {
      const data = Int32Array.from(values);
      return keep(tensor(data, [data.length]));
    };
    this.rows = ints(rows);
    this.order = ints(order);
    this.places = ints(places);
    this.begin = ints(kept.map((at) => Math.floor(at / area) * area));
    this.end = ints(kept.map((at) => Math.floor(at / area) * area + area));
    this.axes = keep(tensor(axes, [rows.length, heads, 2 * size]));
  }

  dispose(): void {
    dispose([this.rows, this.order, this.places, this.begin, this.end, this.axes]);
  }
}

/**
 * Attention within windows whose scores have learned terms for the distances of query and key on both axes:
 * q·k / √D + q·height[Δy] + q·width[Δx]. The terms come in by way of further features: the query has its terms for all
 * rows and columns of the window, the key a one at its row and its column.
 */
export class RelativeAttention {
  /** float32 [2·size − 1, D] times √D, from the largest key position to the smallest. */
  readonly #height: Tensor;
  readonly #width: Tensor;
  /** float32 [1, heads, D]: k and v of a row of zeros. */
  readonly #key: Tensor;
  readonly #value: Tensor;

  /**
   * Takes over the weights, not the bias.
   *
   * @param bias [3·H] of q, k and v, if they have one
   */
  constructor(
    private readonly windows: Windows,
    heads: number,
    weights: RelativeWeights,
    bias: Tensor | undefined,
  ) {
    const headDim = weights.height.shape[1]!;
    this.#height = keep(scope(() => backwards(weights.height, Math.sqrt(headDim))));
    this.#width = keep(scope(() => backwards(weights.width, Math.sqrt(headDim))));
    dispose(weights);
    const ofZeros = (part: number): Tensor =>
      keep(
        scope(() => {
          const shape = [1, heads, headDim];
          if (!bias) return ops.zeros(shape, 'float32');
          return reshape(clone(narrow(bias, 0, part * heads * headDim, heads * headDim)), shape);
        }),
      );
    this.#key = ofZeros(1);
    this.#value = ofZeros(2);
  }

  /** For q, k and v [side², heads, D] of a map, row by row. */
  readonly attend: EncoderAttend = (q, k, v) =>
    scope(() => {
      const { windows } = this;
      const { size, side } = windows;
      const headDim = q.shape[2]!;
      const whole = size === side;
      const inWindows = (rows: Tensor, ofZeros: Tensor): Tensor =>
        whole ? rows : ops.gatherRows(ops.cat([rows, ofZeros], 0), windows.rows);
      const keys = ops.cat([inWindows(k, this.#key), windows.axes], 2);
      const values = inWindows(v, this.#value);
      const room = ops.zeros([values.shape[0]!, values.shape[1]!, 2 * size], 'float32');
      const queries = this.#queries(q);
      const { out } = ops.attention(
        whole ? queries : ops.gatherRows(queries, windows.order),
        keys,
        ops.cat([values, room], 2),
        windows.begin,
        windows.end,
        { scale: 1 / Math.sqrt(headDim) },
      );
      return clone(narrow(whole ? out : ops.gatherRows(out, windows.places), 2, 0, headDim));
    });

  dispose(): void {
    dispose([this.#height, this.#width, this.#key, this.#value]);
  }

  /** q [side², heads, D] with its terms for every row and column of its window, [side², heads, D + 2·size]. */
  #queries(q: Tensor): Tensor {
    const { size, side } = this.windows;
    const [rows, heads, headDim] = q.shape as [number, number, number];
    const wide = ops.zeros([rows, heads, headDim + 2 * size], 'float32');
    narrow(wide, 2, 0, headDim).copyFrom(q);
    const flat = reshape(clone(q), [rows * heads, headDim]);
    [this.#height, this.#width].forEach((table, axis) => {
      const shape = (features: number): number[] => [side, side, heads, features];
      const terms = reshape(ops.matmul(flat, table, { transposeB: true }), shape(2 * size - 1));
      const target = narrow(reshape(wide, shape(headDim + 2 * size)), 3, headDim + axis * size, size);
      for (let i = 0; i < side; i++) {
        // Of a query at place p of its window, the terms of keys 0, 1 … begin at size − 1 − p.
        narrow(target, axis, i, 1).copyFrom(narrow(narrow(terms, axis, i, 1), 3, size - 1 - (i % size), size));
      }
    });
    return wide;
  }
}

/** Rows from the last to the first, times a factor. */
function backwards(table: Tensor, factor: number): Tensor {
  const rows = table.shape[0]!;
  const turned = ops.gatherRows(table, tensor(Int32Array.from({ length: rows }, (_, i) => rows - 1 - i), [rows]));
  ops.scaleInPlace(turned, factor);
  return turned;
}
