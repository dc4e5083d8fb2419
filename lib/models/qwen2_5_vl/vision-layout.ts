import type { Grid } from '../qwen_vl/visual-feature.js';
import type { Qwen2_5VLVisionConfig } from './config.js';

/** Where the patches of several media lie when they are sorted by window. P patches, U = P / merge² merged patches. */
export interface VisionLayout {
  /** [P]: the patch that comes to each place. */
  order: Int32Array;
  /** [U]: the place of each merged patch. */
  reverse: Int32Array;
  /** [2, P] height and width coordinates, in places. */
  positions: Float32Array;
  /** [P], in places: the window, and the frame, that each patch attends to. */
  windowBegin: Int32Array;
  windowEnd: Int32Array;
  frameBegin: Int32Array;
  frameEnd: Int32Array;
}

/**
 * Sorts patches by frame and window. Patches come in blocks of merge × merge, row by row of blocks; windows are squares
 * of blocks, cut off at the right and lower edges.
 */
export function layOutPatches(grids: readonly Grid[], config: Qwen2_5VLVisionConfig): VisionLayout {
  const merge = config.spatialMergeSize;
  const block = merge * merge;
  const side = Math.floor(config.windowSize / merge / config.patchSize);
  const patches = grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  const layout: VisionLayout = {
    order: new Int32Array(patches),
    reverse: new Int32Array(patches / block),
    positions: new Float32Array(2 * patches),
    windowBegin: new Int32Array(patches),
    windowEnd: new Int32Array(patches),
    frameBegin: new Int32Array(patches),
    frameEnd: new Int32Array(patches),
  };
  let place = 0;

  const putBlock = (frameStart: number, blocksPerRow: number, row: number, column: number): void => {
    const source = frameStart / block + row * blocksPerRow + column;
    layout.reverse[source] = place / block;
    for (let i = 0; i < block; i++, place++) {
      layout.order[place] = source * block + i;
      layout.positions[place] = row * merge + Math.floor(i / merge);
      layout.positions[patches + place] = column * merge + (i % merge);
    }
  };

  for (const [frames, height, width] of grids) {
    const rows = height / merge;
    const columns = width / merge;
    for (let frame = 0; frame < frames; frame++) {
      const frameStart = place;
      for (let top = 0; top < rows; top += side) {
        for (let left = 0; left < columns; left += side) {
          const windowStart = place;
          for (let row = top; row < Math.min(top + side, rows); row++) {
            for (let column = left; column < Math.min(left + side, columns); column++) {
              putBlock(frameStart, columns, row, column);
            }
          }
          layout.windowBegin.fill(windowStart, windowStart, place);
          layout.windowEnd.fill(place, windowStart, place);
        }
      }
      layout.frameBegin.fill(frameStart, frameStart, place);
      layout.frameEnd.fill(place, frameStart, place);
    }
  }
  return layout;
}
