import { ops, tensor, type Tensor } from '../../tensor.js';
import type { RopeTables } from '../rotary.js';
import { patchCount, type Grid } from './visual-feature.js';

/** Where the patches of several media lie, in the order in which they come: blocks of merge × merge, row by row. */
export interface FrameLayout {
  /** [2, P] height and width coordinates. */
  positions: Float32Array;
  /** [P]: the frame that each patch belongs to, begin ≤ j < end. */
  begin: Int32Array;
  end: Int32Array;
}

export function layOutFrames(grids: readonly Grid[], merge: number): FrameLayout {
  const patches = grids.reduce((sum, grid) => sum + patchCount(grid), 0);
  const positions = new Float32Array(2 * patches);
  const begin = new Int32Array(patches);
  const end = new Int32Array(patches);
  let at = 0;
  for (const [frames, height, width] of grids) {
    for (let frame = 0; frame < frames; frame++) {
      begin.fill(at, at, at + height * width);
      end.fill(at + height * width, at, at + height * width);
      for (let top = 0; top < height; top += merge) {
        for (let left = 0; left < width; left += merge) {
          for (let i = 0; i < merge * merge; i++, at++) {
            positions[at] = top + Math.floor(i / merge);
            positions[patches + at] = left + (i % merge);
          }
        }
      }
    }
  }
  return { positions, begin, end };
}

/**
 * Frequencies of a rotary embedding by height and width, float32 [headDim / 2]: theta^(−2j/d) over d = half a head,
 * once for each.
 */
export function axialFrequencies(theta: number, headDim: number): Float32Array {
  const count = headDim / 4;
  return Float32Array.from({ length: 2 * count }, (_, j) => 1 / Math.fround(theta ** Math.fround((j % count) / count)));
}

/** Tables of {@link axialFrequencies} at positions [2, P]. */
export function axialTables(positions: Float32Array, frequencies: Tensor): RopeTables {
  const sections = [frequencies.size / 2, frequencies.size / 2];
  return ops.ropeTables(tensor(positions, [2, positions.length / 2]), frequencies, { sections });
}
