import type { Metadata, Sharp } from 'sharp';
import type { MediaSource } from '../models/target.js';
import { native, type PatchOptions, type PictureData, type PictureView } from '../native.js';
import { atSource, readSource } from './source.js';

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

/** Loaded where it is needed: JPEGs, most pictures by far, do without. */
async function openSharp(bytes: Uint8Array): Promise<Sharp> {
  const { default: sharp } = await import('sharp');
  return sharp(bytes, {
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

/** Pixels of what the addon does not decode. */
async function decodeSharp(bytes: Uint8Array): Promise<RgbImage> {
  const image = await openSharp(bytes);
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
}

let working = 0;
const waiting: (() => void)[] = [];

/** Runs `body` when fewer pictures than there are threads are being worked on: more would only take memory. */
async function inTurn<T>(body: () => Promise<T>): Promise<T> {
  if (working < native.info().threads) working++;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    return await body();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else working--;
  }
}

/**
 * A picture whose header has been read. Its pixels are those of Pillow's `ImageOps.exif_transpose` and `convert('RGB')`,
 * byte for byte: turned as its EXIF orientation says, colour profile ignored, transparency dropped, first frame of an
 * animation. They are decoded, resized and cut off the JavaScript thread each time they are asked for.
 */
export class Picture {
  private constructor(
    private readonly bytes: Uint8Array,
    readonly width: number,
    readonly height: number,
    /** Whether the addon decodes it; else sharp does. */
    private readonly jpeg: boolean,
  ) {}

  /** Throws where the bytes are no picture of a known format, or larger than Pillow allows. */
  static async open(bytes: Uint8Array): Promise<Picture> {
    const jpeg = native.jpegSize(bytes);
    const { width, height } = jpeg ?? (await readHeader(await openSharp(bytes))).autoOrient;
    return new Picture(bytes, width, height, jpeg !== undefined);
  }

  /** [height, width, 3] of a view, of the whole picture if absent. Throws where the file is damaged. */
  pixels(view?: PictureView): Promise<Uint8Array> {
    const { width, height } = this;
    if (!view && !this.jpeg) return inTurn(async () => (await decodeSharp(this.bytes)).data);
    return this.#work((picture) =>
      native.renderPicture(picture, view ?? { width, height, filter: 'bicubic' }),
    );
  }

  /** Patch rows of views, end to end, one frame each: as `native.patchify` gives. Throws where the file is damaged. */
  patches(...views: (PictureView & PatchOptions)[]): Promise<Float32Array> {
    return this.#work((picture) => native.patchPicture(picture, { views }));
  }

  #work<T>(job: (picture: PictureData) => Promise<T | undefined>): Promise<T> {
    const { bytes: data, width, height } = this;
    return inTurn(async () => {
      const made = this.jpeg ? await job({ data, width, height, jpeg: true }) : undefined;
      // sharp takes what is irregular, or says what is wrong with it.
      return made ?? (await job({ ...(await decodeSharp(data)), jpeg: false }))!;
    });
  }
}

/** @throws MediaError where it is missing, of another format, or larger than Pillow allows */
export function openImage(source: MediaSource): Promise<Picture> {
  return atSource(source, async () => Picture.open(await readSource(source)));
}

/**
 * Decodes a {@link Picture} as a whole.
 *
 * @throws MediaError where it is missing, truncated, of another format, or larger than Pillow allows
 */
export function decodeImage(source: MediaSource): Promise<RgbImage> {
  return atSource(source, async () => {
    const picture = await openImage(source);
    return { data: await picture.pixels(), width: picture.width, height: picture.height };
  });
}

/** Size in pixels that {@link decodeImage} would give, from the header alone. */
export async function imageSize(source: MediaSource): Promise<{ width: number; height: number }> {
  const { width, height } = await openImage(source);
  return { width, height };
}
