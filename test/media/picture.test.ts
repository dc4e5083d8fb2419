import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { decodeImage, openImage } from '../../lib/media/image.js';
import { native, type PatchOptions, type PictureView } from '../../lib/native.js';

const fixtures = fileURLToPath(new URL('../fixtures/media/', import.meta.url));
const bytesOf = (name: string): Buffer => readFileSync(join(fixtures, name));
const sourceOf = (name: string): { path: string } => ({ path: join(fixtures, name) });
const sha256 = (data: NodeJS.ArrayBufferView): string => createHash('sha256').update(data).digest('hex');

const patch: PatchOptions = {
  patchSize: 4,
  temporalPatchSize: 1,
  mergeSize: 1,
  rescale: 1 / 255,
  mean: [0.5, 0.4, 0.3],
  std: [0.2, 0.3, 0.4],
};
const wide: PictureView = { height: 8, width: 16, filter: 'bicubic' };

describe('jpegSize', () => {
  it.each(['420', '422', '440', '411', 'adobe-rgb', 'gray', 'progressive', 'restarts', 'mixed-sampling'])(
    'knows %s.jpg',
    (name) => {
      expect(native.jpegSize(bytesOf(`${name}.jpg`))).toEqual({ height: 19, width: 27 });
    },
  );

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('turns the size as orientation %i says', (orientation) => {
    const size = orientation < 5 ? { height: 19, width: 27 } : { height: 27, width: 19 };
    expect(native.jpegSize(bytesOf(`orientation-${orientation}.jpg`))).toEqual(size);
  });

  it.each(['cmyk.jpg', 'arithmetic.jpg', 'rgb.png', 'lossy.webp'])('leaves %s to sharp', (name) => {
    expect(native.jpegSize(bytesOf(name))).toBeUndefined();
  });

  it('leaves what is cut off, and orientations that say nothing, to sharp', () => {
    const whole = bytesOf('orientation-6.jpg');
    for (let size = 0; size < 200; size++) expect(native.jpegSize(whole.subarray(0, size))).toBeUndefined();
    const value = whole.indexOf(Buffer.from([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6]));
    expect(value).toBeGreaterThan(0);
    for (const [at, byte] of [
      [value + 9, 0],
      [value + 9, 9],
      [value + 3, 4],
      [value + 7, 2],
    ] as const) {
      const changed = Buffer.from(whole);
      changed[at] = byte;
      expect(native.jpegSize(changed)).toBeUndefined();
    }
  });
});

describe.each(['420.jpg', 'orientation-6.jpg', 'extra-bytes.jpg', 'rgba.png'])('a picture of %s', (name) => {
  it('gives the patches of its resized pixels', async () => {
    const picture = await openImage(sourceOf(name));
    const { data, width, height } = await decodeImage(sourceOf(name));
    const resized = native.resize(data, height, width, 3, 8, 16, 'bicubic');
    expect(await picture.pixels(wide)).toEqual(new Uint8Array(resized));
    const qwen = { ...patch, temporalPatchSize: 2, mergeSize: 2 };
    expect(await picture.patches({ ...wide, ...qwen })).toEqual(native.patchify(resized, 1, 8, 16, qwen));
  });

  it('in its own size is not resized', async () => {
    const { data, width, height } = await decodeImage(sourceOf(name));
    const picture = await openImage(sourceOf(name));
    const options = { ...patch, patchSize: 1 };
    expect(await picture.patches({ ...options, height, width, filter: 'lanczos' })).toEqual(
      native.patchify(new Uint8Array(data), 1, height, width, options),
    );
  });

  it('lies in the middle of a square', async () => {
    const picture = await openImage(sourceOf(name));
    const small: PictureView = { height: 7, width: 3, filter: 'bilinear' };
    const inner = await picture.pixels(small);
    const expected = Uint8Array.from({ length: 12 * 12 * 3 }, (_, i) => [1, 2, 250][i % 3]!);
    for (let y = 0; y < 7; y++) expected.set(inner.subarray(9 * y, 9 * y + 9), ((y + 2) * 12 + 4) * 3);
    const square = { ...small, square: 12, background: [1, 2, 250] as const };
    expect(await picture.pixels(square)).toEqual(expected);

    const shrunk = native.resize(expected, 12, 12, 3, 8, 8, 'bicubic');
    const both = await picture.patches(
      { ...square, ...patch },
      { ...patch, height: 8, width: 8, filter: 'bicubic', ofPrevious: true },
    );
    expect(both.slice(0, 432)).toEqual(native.patchify(expected, 1, 12, 12, patch));
    expect(both.slice(432)).toEqual(native.patchify(shrunk, 1, 8, 8, patch));
  });

  it('is cut into tiles row by row, and the whole comes last', async () => {
    const picture = await openImage(sourceOf(name));
    const whole = { ...patch, filter: 'bicubic', tile: 8 } as const;
    const canvas = await picture.pixels({ height: 16, width: 24, filter: 'bicubic' });
    const tiles = await picture.patches(
      { ...whole, height: 16, width: 24 },
      { ...whole, height: 8, width: 8 },
    );
    for (let i = 0; i < 6; i++) {
      const tile = new Uint8Array(192);
      for (let y = 0; y < 8; y++) {
        const start = ((Math.floor(i / 3) * 8 + y) * 24 + (i % 3) * 8) * 3;
        tile.set(canvas.subarray(start, start + 24), 24 * y);
      }
      expect(tiles.slice(192 * i, 192 * (i + 1))).toEqual(native.patchify(tile, 1, 8, 8, patch));
    }
    const thumbnail = await picture.pixels({ height: 8, width: 8, filter: 'bicubic' });
    expect(tiles.slice(6 * 192)).toEqual(native.patchify(thumbnail, 1, 8, 8, patch));
  });
});

describe('many pictures at once', () => {
  it.each([1, 2, 3])('give with %i threads what each gives alone', async (threads) => {
    const names = ['420', '422', '440', 'gray', 'cmyk', 'orientation-6', '411', 'extra-bytes'];
    // Large enough for several threads to share the work on one.
    const view = { ...patch, height: 400, width: 600, filter: 'bicubic' } as const;
    const load = async (name: string): Promise<string> =>
      sha256(await (await openImage(sourceOf(`${name}.jpg`))).patches(view));
    const alone: string[] = [];
    for (const name of names) alone.push(await load(name));
    expect(new Set(alone.slice(0, 7)).size).toBe(7);
    const before = native.info().threads;
    native.setThreads(threads);
    try {
      const twice = [...names, ...names];
      expect(await Promise.all(twice.map(load))).toEqual([...alone, ...alone]);
    } finally {
      native.setThreads(before);
    }
  });

  it('go on after one that is damaged', async () => {
    const damaged = bytesOf('420.jpg').subarray(0, 500);
    const loads = Array.from({ length: 9 }, (_, i) =>
      decodeImage(i % 2 ? { bytes: damaged, mime: 'image/jpeg' } : sourceOf('420.jpg')),
    );
    const outcomes = await Promise.allSettled(loads);
    expect(outcomes.map(({ status }) => status === 'fulfilled')).toEqual(loads.map((_, i) => i % 2 === 0));
  });
});

describe('renderPicture and patchPicture', () => {
  const data = new Uint8Array(12);
  const pixels = { data, height: 2, width: 2, jpeg: false };

  it('give undefined for a JPEG that libjpeg warns of, and for one of another size', async () => {
    const warned = { data: bytesOf('extra-bytes.jpg'), height: 19, width: 27, jpeg: true };
    expect(await native.renderPicture(warned, wide)).toBeUndefined();
    expect(await native.patchPicture(warned, { views: [{ ...wide, ...patch }] })).toBeUndefined();
    const turned = { ...warned, data: bytesOf('420.jpg'), height: 27, width: 19 };
    expect(await native.renderPicture(turned, wide)).toBeUndefined();
  });

  it('refuse pictures and views that make no sense', () => {
    expect(() => native.renderPicture({ ...pixels, width: 3 }, wide)).toThrow(
      '[renderPicture] expected 18 bytes for [2,3,3], received 12',
    );
    expect(() => native.renderPicture(pixels, { ...wide, height: 0 })).toThrow(/sizes from 1 .*\[0,16\]/);
    expect(() => native.renderPicture(pixels, { ...wide, square: 15, background: [0, 0, 0] })).toThrow(
      '[renderPicture] expected a square that holds [8,16], received 15',
    );
    expect(() => native.renderPicture(pixels, { ...wide, square: 16 })).toThrow(
      /for background, received undefined/,
    );
    expect(() => native.renderPicture(pixels, { ...wide, square: 16, background: [0, 0, 256] })).toThrow(
      /bytes for background, received 256/,
    );
    expect(() => native.patchPicture(pixels, { views: [] })).toThrow(/at least one view/);
    const view = { ...wide, ...patch };
    expect(() => native.patchPicture(pixels, { views: [{ ...view, ofPrevious: true }] })).toThrow(
      /a view before/,
    );
    expect(() => native.patchPicture(pixels, { views: [{ ...view, tile: 5 }] })).toThrow(
      '[patchPicture] expected sides that are multiples of the tile 5, received [8,16]',
    );
    expect(() => native.patchPicture(pixels, { views: [{ ...view, width: 15 }] })).toThrow(/multiples of 4/);
  });
});
