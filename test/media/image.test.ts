import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeImage, imageSize } from '../../lib/media/image.js';

const fixtures = fileURLToPath(new URL('../fixtures/media/', import.meta.url));
const cases = JSON.parse(readFileSync(join(fixtures, 'decode.json'), 'utf8')) as Record<
  string,
  { mode: string; width: number; height: number; sha256: string }
>;

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'eyas-image-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

describe('decodeImage', () => {
  it.each(Object.entries(cases))('%s equals Pillow', async (name, { width, height, sha256 }) => {
    const source = { path: join(fixtures, name) };
    const image = await decodeImage(source);
    expect([image.width, image.height]).toEqual([width, height]);
    expect(createHash('sha256').update(image.data).digest('hex')).toBe(sha256);
    expect(await imageSize(source)).toEqual({ width, height });
  });

  it('decodes bytes', async () => {
    const bytes = readFileSync(join(fixtures, 'rgb.png'));
    const { data } = await decodeImage({ bytes, mime: 'image/png' });
    expect(createHash('sha256').update(data).digest('hex')).toBe(cases['rgb.png']!.sha256);
  });

  it('names the file and what is wrong with it', async () => {
    const missing = join(scratch, 'missing.png');
    await expect(decodeImage({ path: missing })).rejects.toThrow(`${missing}: `);
    await expect(imageSize({ path: missing })).rejects.toThrow(`${missing}: `);

    const avif = join(fixtures, 'refused.avif');
    await expect(decodeImage({ path: avif })).rejects.toThrow(
      `${avif}: expected a picture in one of jpeg, png, webp, gif, tiff, received heif`,
    );
    await expect(decodeImage({ path: join(fixtures, 'refused.bmp') })).rejects.toThrow(
      /refused\.bmp: .*unsupported/,
    );

    const text = join(scratch, 'text.png');
    writeFileSync(text, 'not a picture');
    await expect(decodeImage({ path: text })).rejects.toThrow(/text\.png: .*unsupported image format/);
    const bytes = new TextEncoder().encode('not a picture');
    await expect(decodeImage({ bytes, mime: 'image/png' })).rejects.toThrow(
      /^data: URI of 13 bytes \(image\/png\): /,
    );
  });

  it.each(['rgb.png', '420.jpg', 'lossy.webp'])('refuses %s cut short', async (name) => {
    const whole = readFileSync(join(fixtures, name));
    const path = join(scratch, name);
    writeFileSync(path, whole.subarray(0, whole.length * 0.7));
    await expect(decodeImage({ path })).rejects.toThrow(`${path}: `);
  });
});
