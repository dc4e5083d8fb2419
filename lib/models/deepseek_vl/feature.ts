import type { MediaFeature } from '../target.js';
import { tokensPerPicture, type DeepseekVLConfig } from './config.js';

/** A picture, padded to a square. */
export interface PictureFeature extends MediaFeature {
  kind: 'image';
  /** Patch rows [P, 3 · patch²], row by row. */
  pixels: Float32Array;
  /** The same of the picture in high resolution, for hybrid models. */
  highResPixels?: Float32Array;
}

/** How a feature's sizes disagree; undefined where they do not. */
export function pictureProblem(feature: PictureFeature, config: DeepseekVLConfig): string | undefined {
  const { vision, highRes } = config;
  const expected = [3 * vision.imageSize ** 2, highRes ? 3 * highRes.imageSize ** 2 : 0, tokensPerPicture(config)];
  const received = [feature.pixels.length, feature.highResPixels?.length ?? 0, feature.tokens];
  if (expected.every((size, i) => size === received[i])) return undefined;
  const [values, highValues, tokens] = received;
  return (
    `expected ${expected[0]} values, ${expected[1]} in high resolution and ${expected[2]} tokens, ` +
    `received ${values}, ${highValues} and ${tokens}`
  );
}
