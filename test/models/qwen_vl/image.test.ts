import { describe, expect, it } from 'vitest';
import { smartResize } from '../../../lib/models/qwen_vl/image.js';
import type { VideoSettings } from '../../../lib/models/qwen_vl/settings.js';
import { sampleFrames } from '../../../lib/models/qwen_vl/video.js';
import { roundHalfEven } from '../../../lib/models/processing.js';

describe('roundHalfEven', () => {
  it('rounds as Python', () => {
    expect([0.5, 1.5, 2.5, 3.5, 2.4, 2.6, 0.49999999999999994].map(roundHalfEven)).toEqual([0, 2, 2, 4, 2, 3, 0]);
  });
});

describe('smartResize', () => {
  const resize = (height: number, width: number, min = 56 * 56, max = 28 * 28 * 1280) => {
    const size = smartResize(height, width, 28, min, max);
    return [size.height, size.width];
  };

  it('goes to the nearest multiple, halves to the even one', () => {
    expect(resize(100, 130)).toEqual([112, 140]);
    expect(resize(70, 126)).toEqual([56, 112]); // 2.5 and 4.5 blocks
    expect(resize(98, 182)).toEqual([112, 168]); // 3.5 and 6.5
  });

  it('keeps to the bounds', () => {
    expect(resize(9, 9)).toEqual([56, 56]);
    expect(resize(1, 100)).toEqual([28, 560]);
    expect(resize(3000, 4000)).toEqual([840, 1148]);
    expect(resize(28, 5600, 56 * 56, 28 * 28 * 4)).toEqual([28, 784]);
  });

  it('refuses slivers', () => {
    expect(resize(200, 1)).toEqual([812, 28]);
    expect(() => resize(201, 1)).toThrow('expected an aspect ratio of at most 200, received 201.0 (1×201 pixels)');
  });
});

describe('sampleFrames', () => {
  const settings = { temporalPatchSize: 2, fps: 2, minFrames: 4, maxFrames: 768 } as VideoSettings;
  const sample = (frames: number, fps: number, changes: Partial<VideoSettings> = {}) =>
    sampleFrames({ frames, fps, duration: frames / fps, width: 1, height: 1 }, { ...settings, ...changes });

  it('spaces frames evenly from the first on', () => {
    expect(sample(21, 8)).toEqual([0, 5, 10, 15]);
    expect(sample(130, 25)).toEqual([0, 13, 26, 39, 52, 65, 78, 91, 104, 117]);
  });

  it('keeps to the bounds, the clip and whole patches', () => {
    expect(sample(5, 30)).toEqual([0, 1, 2, 3]);
    expect(sample(3, 30)).toEqual([0, 1]);
    expect(sample(300, 30, { maxFrames: 5 })).toEqual([0, 75, 150, 225]);
    expect(() => sample(1, 30)).toThrow('expected a clip of at least 2 frames, received 1');
    expect(() => sample(30, 30, { fps: 0 })).toThrow('expected a positive fps, received 0');
  });

  it('never goes past the end', () => {
    for (let frames = 2; frames < 300; frames++) {
      const indices = sample(frames, 24, { fps: 20 });
      expect(indices.length % 2).toBe(0);
      expect(indices.at(-1)).toBeLessThan(frames);
      expect(new Set(indices).size).toBe(indices.length);
    }
  });
});
