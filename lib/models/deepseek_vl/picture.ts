import { openImage } from '../../media/image.js';
import { atSource } from '../../media/source.js';
import { native, type PatchOptions, type PictureView } from '../../native.js';
import { scope, tensor, toFloats } from '../../tensor.js';
import { roundHalfEven } from '../processing.js';
import type { MediaSource } from '../target.js';
import { tokensPerPicture, type DeepseekVLConfig } from './config.js';
import type { PictureFeature } from './feature.js';
import { bilinear, interpolate } from './interpolation.js';
import type { PictureSettings, ProcessorSettings } from './settings.js';

interface Size {
  height: number;
  width: number;
}

/** The picture with its longer side `size` long, in the middle of a square of the background's colour. */
function squareOf({ height, width }: Size, settings: PictureSettings): PictureView & { square: number } {
  const { size, minSize, filter, background } = settings;
  const longest = Math.max(height, width);
  const side = (length: number): number =>
    settings.rounding === 'nearest'
      ? Math.max(roundHalfEven(length * (size / longest)), minSize)
      : Math.max(Math.trunc((length / longest) * size), minSize);
  const resized = { height: side(height), width: side(width) };
  return { ...resized, filter, square: Math.max(resized.height, resized.width), background };
}

function patchesOf({ rescale, mean, std }: PictureSettings, patchSize: number): PatchOptions {
  return { patchSize, temporalPatchSize: 1, mergeSize: 1, rescale, mean, std };
}

/** Patch rows of a square of bytes that is made smaller as numbers. */
function shrunkPatches(data: Uint8Array, size: number, settings: PictureSettings, patchSize: number): Float32Array {
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
    const picture = await openImage(source);
    const feature = { kind: 'image', tokens: tokensPerPicture(config) } as const;
    const patches = patchesOf(image, patchSize);
    if (!highRes) return { ...feature, pixels: await picture.patches({ ...squareOf(picture, image), ...patches }) };

    const large = squareOf(picture, highRes);
    const { square: size } = large;
    const largePatches = patchesOf(highRes, config.highRes!.patchSize);
    if (shrink === 'numbers') {
      const data = await picture.pixels(large);
      return {
        ...feature,
        pixels: shrunkPatches(data, size, image, patchSize),
        highResPixels: native.patchify(data, 1, size, size, largePatches),
      };
    }
    const small = { ...squareOf({ height: size, width: size }, image), ofPrevious: true };
    const both = await picture.patches({ ...large, ...largePatches }, { ...small, ...patches });
    const highResValues = size * size * 3;
    return { ...feature, pixels: both.slice(highResValues), highResPixels: both.subarray(0, highResValues) };
  });
}
