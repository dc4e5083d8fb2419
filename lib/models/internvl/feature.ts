import type { MediaFeature } from '../target.js';
import { tokensPerTile, type InternVLConfig } from './config.js';

/** A picture in tiles, or a clip in frames of one tile each. */
export interface TiledFeature extends MediaFeature {
  kind: 'image' | 'video';
  tiles: number;
  /** Patch rows [tiles · patches, 3 · patch²], tile after tile, each in blocks of the patches of a token. */
  pixels: Float32Array;
}

/** How a feature's sizes disagree; undefined where they do not. */
export function tileProblem({ tiles, pixels, tokens }: TiledFeature, config: InternVLConfig): string | undefined {
  const values = tiles * 3 * config.vision.imageSize ** 2;
  const expected = tiles * tokensPerTile(config);
  if (tiles > 0 && pixels.length === values && tokens === expected) return undefined;
  return (
    `expected at least one tile, ${values} values and ${expected} tokens for ${tiles} tiles, ` +
    `received ${pixels.length} and ${tokens}`
  );
}
