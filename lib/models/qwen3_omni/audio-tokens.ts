/** Tokens of a whole chunk of mel frames. */
export const chunkTokens = 13;

/** Length that the three convolutions of stride 2 leave of `length`. */
export function convolved(length: number): number {
  return Math.ceil(Math.ceil(Math.ceil(length / 2) / 2) / 2);
}

/** Tokens of a sound of so many mel frames: every chunk is convolved by itself. */
export function audioTokens(frames: number, chunkFrames: number): number {
  return Math.floor(frames / chunkFrames) * chunkTokens + convolved(frames % chunkFrames);
}
