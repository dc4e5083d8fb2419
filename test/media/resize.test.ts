import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { native } from '../../lib/native.js';

type Filter = 'bicubic' | 'bilinear' | 'lanczos';
type Case = [
  height: number,
  width: number,
  channels: number,
  outHeight: number,
  outWidth: number,
  filter: Filter,
  sha256: string,
];

const cases = JSON.parse(
  readFileSync(new URL('../fixtures/media/resize.json', import.meta.url), 'utf8'),
) as Case[];

/** The generator of scripts/fixtures/media.py. */
function pixels(count: number): Uint8Array {
  let state = 12345n;
  return Uint8Array.from({ length: count }, (_, i) => {
    state = (state * 1103515245n + 12345n) % 2n ** 31n;
    return Math.floor(i / 64) % 2 ? Number(state >> 23n) : i % 256;
  });
}

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

describe('resize', () => {
  it.each(cases)(
    '%i×%i×%i to %i×%i, %s, equals Pillow',
    (height, width, channels, outHeight, outWidth, filter, hash) => {
      const data = pixels(height * width * channels);
      const out = native.resize(data, height, width, channels, outHeight, outWidth, filter);
      expect(out.length).toBe(outHeight * outWidth * channels);
      expect(sha256(out)).toBe(hash);
    },
  );

  it('does not depend on the number of threads', () => {
    const data = pixels(300 * 200 * 3);
    const threads = native.info().threads;
    native.setThreads(1);
    const one = native.resize(data, 300, 200, 3, 500, 100, 'bicubic');
    native.setThreads(3);
    const three = native.resize(data, 300, 200, 3, 500, 100, 'bicubic');
    native.setThreads(threads);
    expect(sha256(three)).toBe(sha256(one));
  });

  it('refuses sizes that the data do not have', () => {
    const data = new Uint8Array(12);
    expect(() => native.resize(data, 2, 3, 3, 4, 4, 'bicubic')).toThrow(
      '[resize] expected 18 bytes for [2,3,3], received 12',
    );
    expect(() => native.resize(data, 2, 2, 3, 0, 4, 'bicubic')).toThrow(
      /^\[resize\] expected output sizes from 1 .*received \[0,4\]/,
    );
    expect(() => native.resize(data, -2, -2, 3, 1, 1, 'bicubic')).toThrow(
      /^\[resize\] expected sizes from 1/,
    );
    expect(() => native.resize(data, 2, 2, 3, 4, 4, 'nearest' as 'bicubic')).toThrow(
      /expected bicubic, bilinear or lanczos .*'nearest'/,
    );
    expect(() => native.resize([] as unknown as Uint8Array, 2, 2, 3, 4, 4, 'bicubic')).toThrow(
      /expected a Uint8Array for data/,
    );
  });
});

describe('patchify', () => {
  const options = {
    patchSize: 2,
    temporalPatchSize: 2,
    mergeSize: 2,
    rescale: 1,
    mean: [0, 0, 0],
    std: [1, 1, 1],
  };

  it('orders rows by merge block and values by channel, frame, y, x', () => {
    // One frame of 4 × 8 pixels: two merge blocks. A pixel's bytes are its place, + 100, + 200.
    const frame = Uint8Array.from({ length: 4 * 8 * 3 }, (_, i) => Math.floor(i / 3) + 100 * (i % 3));
    const rows = native.patchify(frame, 1, 4, 8, options);
    expect(rows.length).toBe(8 * 24);
    const row = (n: number): number[] => [...rows.subarray(24 * n, 24 * n + 24)];
    const corner = [0, 1, 8, 9]; // the pixels of the first patch
    const patch = (shift: number): number[] =>
      [0, 100, 200].flatMap((channel) =>
        [0, 1].flatMap(() => corner.map((pixel) => pixel + shift + channel)),
      );
    expect(row(0)).toEqual(patch(0));
    expect(row(1)).toEqual(patch(2));
    expect(row(2)).toEqual(patch(16));
    expect(row(3)).toEqual(patch(18));
    expect(row(4)).toEqual(patch(4)); // the second merge block
  });

  it('repeats the last frame where the last patch is not full', () => {
    const frames = Uint8Array.from({ length: 3 * 4 * 4 * 3 }, (_, i) => Math.floor(i / 48));
    const rows = native.patchify(frames, 3, 4, 4, options);
    expect(rows.length).toBe(2 * 4 * 24);
    expect([...rows.subarray(0, 8)]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    expect([...rows.subarray(4 * 24, 4 * 24 + 8)]).toEqual([2, 2, 2, 2, 2, 2, 2, 2]);
  });

  it('rescales, subtracts and divides in float32', () => {
    const frame = new Uint8Array(4 * 4 * 3).fill(77);
    const mean = [0.48145466, 0.4578275, 0.40821073];
    const std = [0.26862954, 0.26130258, 0.27577711];
    const rows = native.patchify(frame, 1, 4, 4, { ...options, rescale: 1 / 255, mean, std });
    const f = Math.fround;
    mean.forEach((m, c) => {
      expect(rows[8 * c]).toBe(f(f(f(77 / 255) - f(m)) / f(std[c]!)));
    });
  });

  it('refuses frames that are not whole blocks', () => {
    const frame = new Uint8Array(4 * 6 * 3);
    expect(() => native.patchify(frame, 1, 4, 6, options)).toThrow(/multiples of 4, received \[1,4,6\]/);
    expect(() => native.patchify(frame, 1, 4, 4, options)).toThrow(
      '[patchify] expected 48 bytes for [1,4,4,3], received 72',
    );
    expect(() => native.patchify(frame, 1, 4, 6, { ...options, mergeSize: 0 })).toThrow(/positive patchSize/);
    expect(() => native.patchify(frame, 1, 4, 6, { ...options, std: [1] })).toThrow(
      /expected 3 numbers for std, received 1/,
    );
  });
});
