// Naive float64 definitions of the fused kernels, independent of the addon.

import { expect } from 'vitest';

/** max |actual − expected| / max |expected|; equal infinities count as equal, NaN gives NaN. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return NaN;
  let error = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i] && !Number.isFinite(expected[i])) continue;
    error = Math.max(error, Math.abs(actual[i]! - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return error === 0 ? 0 : error / largest;
}

export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance = 1e-5,
  name = '',
): void {
  expect(relativeError(actual, expected), `relative error of ${name}`).toBeLessThanOrEqual(tolerance);
}

/** Compares bytes: fast, and −0 and NaN are what they are. */
export function expectSameBits(actual: Float32Array, expected: Float32Array, name = 'bits'): void {
  const bytes = (x: Float32Array): Buffer => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
  expect(bytes(actual).equals(bytes(expected)), `${name} are the same`).toBe(true);
}

/** a [m,k] · b [k,n], or b [n,k] transposed. */
export function matmulReference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  [m, k, n]: [number, number, number],
  transposeB = false,
): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++)
      for (let c = 0; c < k; c++) out[i * n + j]! += a[i * k + c]! * b[transposeB ? j * k + c : c * n + j]!;
  return out;
}

export interface ReferenceKeys {
  /** [M, kvHeads, D] */
  k: Float64Array;
  v: Float64Array;
}

export interface ReferenceAttention {
  n: number;
  heads: number;
  kvHeads: number;
  d: number;
  scale: number;
  /** [N, heads, D] */
  q: Float64Array;
  /** Range first, then the extras. */
  keys: ReferenceKeys[];
  /** Rows of keys[source] that a query sees. */
  seen: (query: number) => { source: number; row: number }[];
}

export interface ReferenceAttentionResult {
  out: Float64Array;
  lse: Float64Array;
  dq: Float64Array;
  keys: { dk: Float64Array; dv: Float64Array }[];
}

/** Attention and its gradients for an output gradient dout [N, heads, D], key by key. */
export function attentionReference(input: ReferenceAttention, dout: Float64Array): ReferenceAttentionResult {
  const { n, heads, kvHeads, d, scale, q, keys } = input;
  const result: ReferenceAttentionResult = {
    out: new Float64Array(n * heads * d),
    lse: new Float64Array(n * heads).fill(-Infinity),
    dq: new Float64Array(n * heads * d),
    keys: keys.map(({ k }) => ({ dk: new Float64Array(k.length), dv: new Float64Array(k.length) })),
  };
  const dot = (a: Float64Array, atA: number, b: Float64Array, atB: number): number => {
    let sum = 0;
    for (let c = 0; c < d; c++) sum += a[atA + c]! * b[atB + c]!;
    return sum;
  };
  for (let i = 0; i < n; i++) {
    for (let head = 0; head < heads; head++) {
      const at = (i * heads + head) * d;
      const kvHead = Math.floor(head / (heads / kvHeads));
      const seen = input
        .seen(i)
        .map(({ source, row }) => ({ source, row, at: (row * kvHeads + kvHead) * d }));
      if (seen.length === 0) continue;
      const scores = seen.map((key) => scale * dot(q, at, keys[key.source]!.k, key.at));
      const largest = Math.max(...scores);
      const lse = largest + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - largest), 0));
      result.lse[i * heads + head] = lse;
      seen.forEach((key, j) => {
        const p = Math.exp(scores[j]! - lse);
        for (let c = 0; c < d; c++) result.out[at + c]! += p * keys[key.source]!.v[key.at + c]!;
      });
      const delta = dot(dout, at, result.out, at);
      seen.forEach((key, j) => {
        const p = Math.exp(scores[j]! - lse);
        const ds = p * scale * (dot(dout, at, keys[key.source]!.v, key.at) - delta);
        const { dk, dv } = result.keys[key.source]!;
        for (let c = 0; c < d; c++) {
          result.dq[at + c]! += ds * keys[key.source]!.k[key.at + c]!;
          dk[key.at + c]! += ds * q[at + c]!;
          dv[key.at + c]! += p * dout[at + c]!;
        }
      });
    }
  }
  return result;
}

/** Softmax of one row. */
export function softmaxReference(row: ArrayLike<number>): Float64Array {
  const largest = Math.max(...Array.from(row));
  const exps = Float64Array.from(row, (x) => Math.exp(x - largest));
  const total = exps.reduce((sum, x) => sum + x, 0);
  return exps.map((x) => x / total);
}

export function argmaxReference(row: ArrayLike<number>): number {
  let best = 0;
  let largest = -Infinity;
  for (let j = 0; j < row.length; j++) {
    if (row[j]! > largest) {
      largest = row[j]!;
      best = j;
    }
  }
  return best;
}
