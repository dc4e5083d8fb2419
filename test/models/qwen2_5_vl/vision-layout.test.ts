import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Qwen2_5VLVisionConfig } from '../../../lib/models/qwen2_5_vl/config.js';
import { layOutPatches } from '../../../lib/models/qwen2_5_vl/vision-layout.js';
import type { Grid } from '../../../lib/models/qwen_vl/visual-feature.js';

/** Windows of two blocks of 2 × 2 patches a side. */
const config = { spatialMergeSize: 2, windowSize: 16, patchSize: 4 } as Qwen2_5VLVisionConfig;

it('sorts the blocks of a picture of 3 × 3 blocks by window', () => {
  const layout = layOutPatches([[1, 6, 6]], config);
  const blocks = Array.from({ length: 9 }, (_, u) => layout.order[4 * u]! / 4);
  // 0 1 | 2
  // 3 4 | 5
  // ----+--
  // 6 7 | 8
  expect(blocks).toEqual([0, 1, 3, 4, 2, 5, 6, 7, 8]);
  expect([...layout.reverse]).toEqual([0, 1, 4, 2, 3, 5, 6, 7, 8]);
  expect([...layout.windowEnd].filter((end, i, all) => end !== all[i - 1])).toEqual([16, 24, 32, 36]);
  // Patches of the second block: rows 0 0 1 1, columns 2 3 2 3.
  expect([...layout.positions.subarray(4, 8)]).toEqual([0, 0, 1, 1]);
  expect([...layout.positions.subarray(36 + 4, 36 + 8)]).toEqual([2, 3, 2, 3]);
});

it('keeps patches in their frame and window, and every patch once', () => {
  const side = fc.integer({ min: 1, max: 6 }).map((blocks) => 2 * blocks);
  const grid = fc.tuple(fc.integer({ min: 1, max: 3 }), side, side);
  fc.assert(
    fc.property(fc.array(grid, { minLength: 1, maxLength: 3 }), (grids: Grid[]) => {
      const { order, reverse, positions, windowBegin, windowEnd, frameBegin, frameEnd } = layOutPatches(grids, config);
      const patches = order.length;
      expect([...order].sort((a, b) => a - b)).toEqual([...order.keys()]);
      reverse.forEach((place, unit) => {
        expect(order[4 * place]).toBe(4 * unit);
      });
      const windowOf = (i: number): string =>
        `${frameBegin[i]} ${Math.floor(positions[i]! / 4)} ${Math.floor(positions[patches + i]! / 4)}`;
      let frame = 0;
      for (const [frames, height, width] of grids) {
        for (let f = 0; f < frames; f++, frame += height * width) {
          const seen = new Set<string>();
          for (let i = frame; i < frame + height * width; i++) {
            expect([frameBegin[i], frameEnd[i]]).toEqual([frame, frame + height * width]);
            seen.add(`${positions[i]} ${positions[patches + i]}`);
            const members = [...order.keys()].filter((j) => windowOf(j) === windowOf(i));
            expect([windowBegin[i], windowEnd[i]]).toEqual([members[0], members.at(-1)! + 1]);
          }
          expect(seen.size).toBe(height * width);
        }
      }
    }),
    { numRuns: 30 },
  );
});
