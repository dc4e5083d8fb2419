import { decodeImage, type RgbImage } from '../../media/image.js';
import { atSource } from '../../media/source.js';
import { native } from '../../native.js';
import { scope, tensor, toFloats } from '../../tensor.js';
import { roundHalfEven } from '../processing.js';
import type { MediaSource } from '../target.js';
import { tokensPerPicture, type DeepseekVLConfig } from './config.js';
import type { PictureFeature } from './feature.js';
import { bilinear, interpolate } from './interpolation.js';
import type { PictureSettings, ProcessorSettings } from './settings.js';

/** A square of interleaved RGB bytes. */
interface Square {
  data: Uint8Array;
  size: number;
}

/** The picture with its longer side `size` long, in the middle of a square of the background's colour. */
function toSquare({ data, height, width }: RgbImage, settings: PictureSettings): Square {
  const { size: wanted, minSize, filter, background } = settings;
  const longest = Math.max(height, width);
  const side = (length: number): number =>
    settings.rounding === 'nearest'
      ? Math.max(roundHalfEven(length * (wanted / longest)), minSize)
      : Math.max(Math.trunc((length / longest) * wanted), minSize);
  const [rows, columns] = [side(height), side(width)];
  const resized = native.resize(data, height, width, 3, rows, columns, filter);
  if (rows === columns) return { data: resized, size: rows };

  const size = Math.max(rows, columns);
  const square = new Uint8Array(size * size * 3);
  for (let i = 0; i < square.length; i++) square[i] = background[i % 3]!;
  const [top, left] = [Math.floor((size - rows) / 2), Math.floor((size - columns) / 2)];
  for (let row = 0; row < rows; row++) {
    const from = row * columns * 3;
    square.set(resized.subarray(from, from + columns * 3), ((top + row) * size + left) * 3);
  }
  return { data: square, size };
}

/** Patch rows of a square of bytes. */
function patchesOf({ data, size }: Square, { rescale, mean, std }: PictureSettings, patchSize: number): Float32Array {
  const options = { patchSize, temporalPatchSize: 1, mergeSize: 1, rescale, mean, std };
  return native.patchify(data, 1, size, size, options);
}

/** Patch rows of a square of bytes that is made smaller as numbers. */
function shrunkPatches({ data, size }: Square, settings: PictureSettings, patchSize: number): Float32Array {
  const { size: side, rescale, mean, std } = settings;
  const values = scope(() => {
    const square = tensor(
      Float32Array.from(data, (byte) => byte * rescale),
      [size * size, 3],
    );
    return toFloats(interpolate(square, bilinear(size, side, true)));
  });
  const patches = new Float32Array(values.length);
  const area = patchSize ** 2;
  const across = side / patchSize;
  for (let at = 0; at < patches.length; at++) {
    const patch = Math.floor(at / (3 * area));
    const channel = Math.floor(at / area) % 3;
    const y = Math.floor(patch / across) * patchSize + Math.floor((at % area) / patchSize);
    const x = (patch % across) * patchSize + (at % patchSize);
    patches[at] = (values[(y * side + x) * 3 + channel]! - mean[channel]!) / std[channel]!;
  }
  return patches;
}

/**
 * A picture as transformers' `DeepseekVLImageProcessorPil` and `DeepseekVLHybridImageProcessorPil` make it, or as
 * DeepSeek's `VLMImageProcessor` and towers do.
 *
 * @throws MediaError where it cannot be decoded
 */
export function loadPicture(
  source: MediaSource,
  settings: ProcessorSettings,
  config: DeepseekVLConfig,
): Promise<PictureFeature> {
  const { image, highRes, shrink } = settings;
  const { patchSize } = config.vision;
  return atSource(source, async (): Promise<PictureFeature> => {
    const decoded = await decodeImage(source);
    const feature = { kind: 'image', tokens: tokensPerPicture(config) } as const;
    if (!highRes) return { ...feature, pixels: patchesOf(toSquare(decoded, image), image, patchSize) };
    const large = toSquare(decoded, highRes);
    const small = (): Float32Array =>
      shrink === 'numbers'
        ? shrunkPatches(large, image, patchSize)
        : patchesOf(toSquare({ ...large, height: large.size, width: large.size }, image), image, patchSize);
    return { ...feature, pixels: small(), highResPixels: patchesOf(large, highRes, config.highRes!.patchSize) };
  });
}
