import type { MediaFeature } from '../target.js';

/** Frames, rows and columns of a picture or clip, in patches. */
export type Grid = readonly [frames: number, height: number, width: number];

/** A picture or clip as the processors of Qwen's families make it. */
export interface VisualFeature extends MediaFeature {
  kind: 'image' | 'video';
  grid: Grid;
  /** Patch rows [t·h·w, channels · temporal patch · patch²], in merge blocks. */
  pixels: Float32Array;
  /** Seconds that a temporal patch of a clip spans. */
  secondPerGrid?: number;
  /** Seconds of each temporal patch of a clip, where the prompt tells them. */
  timestamps?: number[];
}

/** Sizes that a grid and its pixels must agree with. */
export interface PatchShape {
  inChannels: number;
  temporalPatchSize: number;
  patchSize: number;
  /** Patches per side that are merged into one token. */
  spatialMergeSize: number;
}

/** Number of patch rows. */
export function patchCount([frames, height, width]: Grid): number {
  return frames * height * width;
}

/** Width of a patch row. */
export function patchFeatures({ inChannels, temporalPatchSize, patchSize }: PatchShape): number {
  return inChannels * temporalPatchSize * patchSize * patchSize;
}

/** How a feature's sizes disagree; undefined where they do not. */
export function gridProblem({ grid, pixels, tokens }: VisualFeature, shape: PatchShape): string | undefined {
  const merge = shape.spatialMergeSize;
  if (grid[1] % merge !== 0 || grid[2] % merge !== 0) {
    return `expected a grid of multiples of ${merge}, received ${grid.join(' × ')}`;
  }
  const expected = patchCount(grid) * patchFeatures(shape);
  if (pixels.length !== expected || tokens !== patchCount(grid) / merge ** 2) {
    return (
      `expected ${expected} values and ${patchCount(grid) / merge ** 2} tokens ` +
      `for the grid ${grid.join(' × ')}, received ${pixels.length} and ${tokens}`
    );
  }
  return undefined;
}
