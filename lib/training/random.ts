/**
 * Seeded generator (SplitMix32 over a counter): the same (seed, stream) gives the same numbers on every machine, so data
 * order and sampling need no state in a checkpoint beyond where they stand.
 */
export function randomStream(seed: number, stream: number): () => number {
  let state = (Math.imul(seed | 0, 0x9e3779b9) ^ Math.imul((stream + 1) | 0, 0x85ebca6b)) | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Random order of 0..count−1 (Fisher–Yates). */
export function permutation(count: number, seed: number, stream: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  const random = randomStream(seed, stream);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
