// A dense float64 matrix with reverse-mode gradients: slow, small and independent of the addon. The oracle of TTT tests.

export class Matrix {
  readonly grad: Float64Array;

  constructor(
    readonly rows: number,
    readonly cols: number,
    readonly data = new Float64Array(rows * cols),
  ) {
    this.grad = new Float64Array(rows * cols);
  }

  static from(rows: number, cols: number, data: ArrayLike<number>): Matrix {
    return new Matrix(rows, cols, Float64Array.from(data));
  }
}

/** Operations in order; `backward` runs their gradients in reverse. */
export class Graph {
  readonly #backward: (() => void)[] = [];

  backward(): void {
    for (const step of this.#backward.reverse()) step();
    this.#backward.length = 0;
  }

  /** x · wᵀ */
  linear(x: Matrix, w: Matrix): Matrix {
    const y = new Matrix(x.rows, w.rows);
    const each = (visit: (r: number, c: number, k: number) => void) => {
      for (let r = 0; r < x.rows; r++)
        for (let c = 0; c < w.rows; c++) for (let k = 0; k < x.cols; k++) visit(r, c, k);
    };
    each((r, c, k) => {
      y.data[r * y.cols + c]! += x.data[r * x.cols + k]! * w.data[c * w.cols + k]!;
    });
    this.#backward.push(() => {
      each((r, c, k) => {
        const dy = y.grad[r * y.cols + c]!;
        x.grad[r * x.cols + k]! += dy * w.data[c * w.cols + k]!;
        w.grad[c * w.cols + k]! += dy * x.data[r * x.cols + k]!;
      });
    });
    return y;
  }

  rmsNorm(x: Matrix, w: Matrix, eps: number): Matrix {
    const y = new Matrix(x.rows, x.cols);
    const inverse = new Float64Array(x.rows);
    for (let r = 0; r < x.rows; r++) {
      let sum = 0;
      for (let c = 0; c < x.cols; c++) sum += x.data[r * x.cols + c]! ** 2;
      inverse[r] = 1 / Math.sqrt(sum / x.cols + eps);
      for (let c = 0; c < x.cols; c++)
        y.data[r * x.cols + c] = x.data[r * x.cols + c]! * inverse[r]! * w.data[c]!;
    }
    this.#backward.push(() => {
      for (let r = 0; r < x.rows; r++) {
        let dot = 0;
        for (let c = 0; c < x.cols; c++) {
          const at = r * x.cols + c;
          dot += y.grad[at]! * w.data[c]! * x.data[at]!;
          w.grad[c]! += y.grad[at]! * x.data[at]! * inverse[r]!;
        }
        for (let c = 0; c < x.cols; c++) {
          const at = r * x.cols + c;
          x.grad[at]! +=
            inverse[r]! * (y.grad[at]! * w.data[c]! - (x.data[at]! * dot * inverse[r]! ** 2) / x.cols);
        }
      }
    });
    return y;
  }

  concat(a: Matrix, b: Matrix): Matrix {
    const y = new Matrix(a.rows, a.cols + b.cols);
    const copy = (visit: (part: Matrix, at: number, to: number) => void) => {
      for (let r = 0; r < y.rows; r++) {
        for (let c = 0; c < a.cols; c++) visit(a, r * a.cols + c, r * y.cols + c);
        for (let c = 0; c < b.cols; c++) visit(b, r * b.cols + c, r * y.cols + a.cols + c);
      }
    };
    copy((part, at, to) => (y.data[to] = part.data[at]!));
    this.#backward.push(() => {
      copy((part, at, to) => (part.grad[at]! += y.grad[to]!));
    });
    return y;
  }

  add(a: Matrix, b: Matrix): Matrix {
    const y = new Matrix(
      a.rows,
      a.cols,
      a.data.map((v, i) => v + b.data[i]!),
    );
    this.#backward.push(() => {
      y.grad.forEach((g, i) => {
        a.grad[i]! += g;
        b.grad[i]! += g;
      });
    });
    return y;
  }

  /** silu(gate)·up */
  swiglu(gate: Matrix, up: Matrix): Matrix {
    const sigmoid = gate.data.map((g) => 1 / (1 + Math.exp(-g)));
    const y = new Matrix(
      gate.rows,
      gate.cols,
      gate.data.map((g, i) => g * sigmoid[i]! * up.data[i]!),
    );
    this.#backward.push(() => {
      y.grad.forEach((dy, i) => {
        const s = sigmoid[i]!;
        const g = gate.data[i]!;
        gate.grad[i]! += dy * up.data[i]! * s * (1 + g * (1 - s));
        up.grad[i]! += dy * g * s;
      });
    });
    return y;
  }

  /** Rotates pairs (j, j + F) of every head by angles [rows][F]. */
  rotate(x: Matrix, heads: number, angles: readonly number[][]): Matrix {
    const y = Matrix.from(x.rows, x.cols, x.data);
    const width = x.cols / heads;
    const turn = (source: Float64Array, target: Float64Array, sign: number, add: boolean) => {
      for (let r = 0; r < x.rows; r++) {
        const half = angles[r]!.length;
        for (let h = 0; h < heads; h++) {
          const at = r * x.cols + h * width;
          for (let c = 2 * half; add && c < width; c++) target[at + c]! += source[at + c]!;
          for (let j = 0; j < half; j++) {
            const cos = Math.cos(angles[r]![j]!);
            const sin = sign * Math.sin(angles[r]![j]!);
            const a = source[at + j]!;
            const b = source[at + j + half]!;
            target[at + j] = (add ? target[at + j]! : 0) + a * cos - b * sin;
            target[at + j + half] = (add ? target[at + j + half]! : 0) + b * cos + a * sin;
          }
        }
      }
    };
    turn(x.data, y.data, 1, false);
    this.#backward.push(() => {
      turn(y.grad, x.grad, -1, true);
    });
    return y;
  }

  /**
   * One softmax over keys 0..i of `prefix` and key i of every `diagonal`, grouped query heads.
   * q [T, heads·D]; k, v [T, kvHeads·D].
   */
  attention(
    q: Matrix,
    prefix: { k: Matrix; v: Matrix },
    diagonal: readonly { k: Matrix; v: Matrix }[],
    heads: number,
    kvHeads: number,
  ): Matrix {
    const y = new Matrix(q.rows, q.cols);
    const width = q.cols / heads;
    const scale = 1 / Math.sqrt(width);
    const weights: { source: { k: Matrix; v: Matrix }; key: number; weight: number }[][] = [];
    for (let i = 0; i < q.rows; i++) {
      for (let h = 0; h < heads; h++) {
        const kvAt = Math.floor((h * kvHeads) / heads) * width;
        const qAt = i * q.cols + h * width;
        const seen = [
          ...Array.from({ length: i + 1 }, (_, key) => ({ source: prefix, key, weight: 0 })),
          ...diagonal.map((source) => ({ source, key: i, weight: 0 })),
        ];
        for (const entry of seen) {
          const kAt = entry.key * entry.source.k.cols + kvAt;
          for (let d = 0; d < width; d++)
            entry.weight += scale * q.data[qAt + d]! * entry.source.k.data[kAt + d]!;
        }
        const top = Math.max(...seen.map((entry) => entry.weight));
        let sum = 0;
        for (const entry of seen) sum += entry.weight = Math.exp(entry.weight - top);
        for (const entry of seen) {
          entry.weight /= sum;
          const vAt = entry.key * entry.source.v.cols + kvAt;
          for (let d = 0; d < width; d++) y.data[qAt + d]! += entry.weight * entry.source.v.data[vAt + d]!;
        }
        weights.push(seen);
      }
    }
    this.#backward.push(() => {
      for (let i = 0; i < q.rows; i++) {
        for (let h = 0; h < heads; h++) {
          const kvAt = Math.floor((h * kvHeads) / heads) * width;
          const qAt = i * q.cols + h * width;
          const seen = weights[i * heads + h]!;
          const dWeight = seen.map(({ source, key, weight }) => {
            const vAt = key * source.v.cols + kvAt;
            let dw = 0;
            for (let d = 0; d < width; d++) {
              dw += y.grad[qAt + d]! * source.v.data[vAt + d]!;
              source.v.grad[vAt + d]! += weight * y.grad[qAt + d]!;
            }
            return dw;
          });
          const mean = seen.reduce((sum, { weight }, n) => sum + weight * dWeight[n]!, 0);
          seen.forEach(({ source, key, weight }, n) => {
            const dScore = scale * weight * (dWeight[n]! - mean);
            const kAt = key * source.k.cols + kvAt;
            for (let d = 0; d < width; d++) {
              q.grad[qAt + d]! += dScore * source.k.data[kAt + d]!;
              source.k.grad[kAt + d]! += dScore * q.data[qAt + d]!;
            }
          });
        }
      }
    });
    return y;
  }

  /** Σ over `rows` of −Σ_v p(v) log softmax(logits)(v); its gradient is multiplied by `scale`. */
  softCrossEntropy(
    logits: Matrix,
    rows: readonly number[],
    teacher: readonly ArrayLike<number>[],
    scale: number,
  ): number {
    let loss = 0;
    const soft = rows.map((row, n) => {
      const values = logits.data.subarray(row * logits.cols, (row + 1) * logits.cols);
      const q = softmax(values);
      q.forEach((value, v) => (loss -= teacher[n]![v]! * Math.log(value)));
      return q;
    });
    this.#backward.push(() => {
      rows.forEach((row, n) => {
        soft[n]!.forEach((value, v) => {
          logits.grad[row * logits.cols + v]! += scale * (value - teacher[n]![v]!);
        });
      });
    });
    return loss;
  }
}

export function softmax(values: ArrayLike<number>): Float64Array {
  const top = Math.max(...Array.from(values));
  const exps = Float64Array.from(values, (v) => Math.exp(v - top));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((e) => e / sum);
}
