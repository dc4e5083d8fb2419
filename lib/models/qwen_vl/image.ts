import { openImage } from '../../media/image.js';
import { atSource } from '../../media/source.js';
import { roundHalfEven } from '../processing.js';
import type { MediaSource } from '../target.js';
import type { PixelSettings } from './settings.js';
import type { Grid, VisualFeature } from './visual-feature.js';

/** What is known of a picture or clip before its pixels are. */
export interface MediaPlan {
  /** Pixels that it is resized to. */
  height: number;
  width: number;
  grid: Grid;
  /** Placeholder tokens. */
  tokens: number;
}

const maxAspectRatio = 200;

/** @throws Error where one side is more than 200 times the other */
export function checkAspectRatio(height: number, width: number): void {
  const ratio = Math.max(height, width) / Math.min(height, width);
  if (!(ratio <= maxAspectRatio)) {
    throw new Error(
      `expected an aspect ratio of at most ${maxAspectRatio}, received ${ratio.toFixed(1)} (${width}×${height} pixels)`,
    );
  }
}

/**
 * Size near the given one, in multiples of `factor`, of the same shape as far as they allow, with between `minPixels`
 * and `maxPixels` pixels.
 *
 * @throws Error where one side is more than 200 times the other
 */
export function smartResize(
  height: number,
  width: number,
  factor: number,
  minPixels: number,
  maxPixels: number,
): { height: number; width: number } {
  checkAspectRatio(height, width);
  const nearest = [height, width].map((side) => roundHalfEven(side / factor) * factor) as [number, number];
  const pixels = nearest[0] * nearest[1];
  if (pixels > maxPixels) {
    const shrink = Math.sqrt((height * width) / maxPixels);
    const fit = (side: number): number => Math.max(factor, Math.floor(side / shrink / factor) * factor);
    return { height: fit(height), width: fit(width) };
  }
  if (pixels < minPixels) {
    const stretch = Math.sqrt(minPixels / (height * width));
    const fit = (side: number): number => Math.ceil((side * stretch) / factor) * factor;
    return { height: fit(height), width: fit(width) };
  }
  return { height: nearest[0], width: nearest[1] };
}

/** Size, grid and tokens of `frames` frames of the given size. */
export function planFrames(
  size: { height: number; width: number },
  frames: number,
  settings: PixelSettings,
  maxPixels = settings.maxPixels,
): MediaPlan {
  const { patchSize, mergeSize, temporalPatchSize, minPixels } = settings;
  const { height, width } = smartResize(size.height, size.width, patchSize * mergeSize, minPixels, maxPixels);
  const grid: Grid = [Math.ceil(frames / temporalPatchSize), height / patchSize, width / patchSize];
  return { height, width, grid, tokens: (grid[0] * grid[1] * grid[2]) / mergeSize ** 2 };
}

/**
 * Pixels of a picture, equal to those of transformers' `Qwen2VLImageProcessorPil`: Pillow's resize, then float32
 * rescaling and normalisation.
 *
 * @throws MediaError where it cannot be decoded or is too narrow
 */
export function loadImage(source: MediaSource, settings: PixelSettings): Promise<VisualFeature> {
  return atSource(source, async () => {
    const picture = await openImage(source);
    const { height, width, grid, tokens } = planFrames(picture, 1, settings);
    return { kind: 'image', tokens, grid, pixels: await picture.patches({ ...settings, height, width }) };
  });
}
