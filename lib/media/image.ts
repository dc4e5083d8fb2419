import sharp, { type Metadata, type Sharp } from 'sharp';
import type { MediaSource } from '../models/target.js';
import { atSource, openSource } from './source.js';

/** A decoded picture. */
export interface RgbImage {
  /** [height, width, 3], interleaved. */
  data: Uint8Array;
  width: number;
  height: number;
}

/** Formats whose pixels equal Pillow's. */
const formats = ['jpeg', 'png', 'webp', 'gif', 'tiff'];

/** Where Pillow takes a picture for a decompression bomb. */
const maxPixels = 178_956_970;

async function open(source: MediaSource): Promise<Sharp> {
  return sharp(await openSource(source), {
    failOn: 'error',
    ignoreIcc: true,
    autoOrient: true,
    limitInputPixels: maxPixels,
  });
}

async function readHeader(image: Sharp): Promise<Metadata> {
  const metadata = await image.metadata();
  if (!formats.includes(metadata.format)) {
    throw new Error(`expected a picture in one of ${formats.join(', ')}, received ${metadata.format}`);
  }
  return metadata;
}

/** Pillow's conversion of inverted CMYK, interleaved [n, 4], to RGB. */
function cmykToRgb(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8ClampedArray((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const white = 255 - cmyk[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = cmyk[from + c]! * white + 128;
      rgb[to++] = white - ((product + (product >> 8)) >> 8); // divided by 255, rounded
    }
  }
  return new Uint8Array(rgb.buffer);
}

/** One channel, repeated three times; what is above 255 becomes 255. */
function grayToRgb(gray: Uint16Array): Uint8Array {
  const rgb = new Uint8Array(gray.length * 3);
  for (let i = 0; i < gray.length; i++) rgb.fill(Math.min(gray[i]!, 255), 3 * i, 3 * i + 3);
  return rgb;
}

/**
 * Decodes a picture as Pillow's `ImageOps.exif_transpose` and `convert('RGB')` do, byte for byte: turned as its EXIF
 * orientation says, colour profile ignored, transparency dropped, first frame of an animation.
 *
 * @throws MediaError where it is missing, truncated, of another format, or larger than Pillow allows
 */
export function decodeImage(source: MediaSource): Promise<RgbImage> {
  return atSource(source, async () => {
    const image = await open(source);
    const { space, depth, hasAlpha } = await readHeader(image);
    const read = async (pipeline: Sharp, convert: (data: Buffer) => Uint8Array): Promise<RgbImage> => {
      const { data, info } = await pipeline.toBuffer({ resolveWithObject: true });
      return { data: convert(data), width: info.width, height: info.height };
    };
    if (space === 'cmyk') {
      return read(image.pipelineColourspace('cmyk').toColourspace('cmyk').raw(), cmykToRgb);
    }
    if (depth === 'ushort' && space === 'grey16' && !hasAlpha) {
      // Pillow cuts 16-bit gray off at 255, where it takes the high byte of every other 16-bit mode.
      return read(image.toColourspace('grey16').raw({ depth: 'ushort' }), (data) =>
        grayToRgb(new Uint16Array(data.buffer, data.byteOffset, data.length / 2)),
      );
    }
    return read(image.removeAlpha().toColourspace('srgb').raw(), (data) => data);
  });
}

/** Size in pixels that {@link decodeImage} would give, from the header alone. */
export function imageSize(source: MediaSource): Promise<{ width: number; height: number }> {
  return atSource(source, async () => (await readHeader(await open(source))).autoOrient);
}
