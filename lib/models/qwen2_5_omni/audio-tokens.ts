/** Rows that a convolution of stride 2 leaves of mel frames. */
export function convolved(frames: number): number {
  return Math.ceil(frames / 2);
}

/** Tokens of a sound of so many mel frames: pairs of rows are averaged, a last row without a partner is dropped. */
export function audioTokens(frames: number): number {
  return Math.floor(convolved(frames) / 2);
}
