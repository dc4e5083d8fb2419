import { z } from 'zod';
import { count } from '../config.js';
import type { ProcessorOptions } from '../family.js';
import {
  always,
  channels,
  clipMean,
  clipStd,
  needSection,
  parseSection,
  resample,
  type Filter,
  type ProcessorSection,
} from '../processor-files.js';
import type { PatchShape } from './visual-feature.js';

/** How pictures become patches. */
export interface PixelSettings {
  patchSize: number;
  temporalPatchSize: number;
  /** Patches per side of the block that one token stands for. */
  mergeSize: number;
  /** Bounds of a picture's or frame's area after resizing; of a clip's volume, frames times area, in Qwen3-VL. */
  minPixels: number;
  maxPixels: number;
  filter: Filter;
  /** Value of a channel: (byte · rescale − mean) / std. */
  rescale: number;
  mean: number[];
  std: number[];
}

/** How clips become patches. */
export interface VideoSettings extends PixelSettings {
  /** Frames a second that are looked at, within the bounds. */
  fps: number;
  minFrames: number;
  maxFrames: number;
  /** Whether frames of long clips share a budget, of `maxVideoTokens` tokens a clip (a frame in Qwen3-VL). */
  capPixelsPerFrame: boolean;
  maxVideoTokens: number;
}

export interface ProcessorSettings {
  image: PixelSettings;
  video: VideoSettings;
}

/** What a processor class of transformers has where a model's files are silent. */
export interface PixelDefaults {
  patchSize: number;
  mean: number[];
  std: number[];
  minPixels: number;
  maxPixels: number;
}

export interface VideoDefaults extends PixelDefaults {
  maxVideoTokens: number;
}

/** Of `Qwen2VLImageProcessor`. */
const imageDefaults: PixelDefaults = {
  patchSize: 14,
  mean: clipMean,
  std: clipStd,
  minPixels: 56 * 56,
  maxPixels: 28 * 28 * 1280,
};

/** Of `Qwen2VLVideoProcessor`. */
const qwen2VideoDefaults: VideoDefaults = {
  ...imageDefaults,
  minPixels: 128 * 28 * 28,
  maxPixels: 768 * 28 * 28,
  maxVideoTokens: 128_000,
};

const pixelSchema = z.object({
  patch_size: count.nullish(),
  temporal_patch_size: count.default(2),
  merge_size: count.default(2),
  size: z.object({ shortest_edge: count.nullish(), longest_edge: count.nullish() }).nullish(),
  min_pixels: count.nullish(),
  max_pixels: count.nullish(),
  resample,
  rescale_factor: z.number().positive().default(1 / 255),
  image_mean: channels.nullish(),
  image_std: channels.nullish(),
  do_resize: always,
  do_rescale: always,
  do_normalize: always,
});

const videoSchema = pixelSchema.extend({
  fps: z.number().positive().nullish(),
  min_frames: count.nullish(),
  max_frames: count.nullish(),
  cap_pixels_per_frame: z.boolean().nullish(),
  max_video_tokens: count.nullish(),
});

function pixelSettings(
  parsed: z.infer<typeof pixelSchema>,
  { file, prefix }: ProcessorSection,
  vision: PatchShape,
  defaults: PixelDefaults,
): PixelSettings {
  const expected = {
    patch_size: vision.patchSize,
    temporal_patch_size: vision.temporalPatchSize,
    merge_size: vision.spatialMergeSize,
  };
  const stated = { ...parsed, patch_size: parsed.patch_size ?? defaults.patchSize };
  for (const [key, value] of Object.entries(expected)) {
    const received = stated[key as keyof typeof expected];
    if (received !== value) {
      throw new Error(`${file}: ${prefix}${key}: expected ${value} as in config.json's vision_config, received ${received}`);
    }
  }
  return {
    patchSize: stated.patch_size,
    temporalPatchSize: parsed.temporal_patch_size,
    mergeSize: parsed.merge_size,
    minPixels: parsed.min_pixels ?? parsed.size?.shortest_edge ?? defaults.minPixels,
    maxPixels: parsed.max_pixels ?? parsed.size?.longest_edge ?? defaults.maxPixels,
    filter: parsed.resample,
    rescale: parsed.rescale_factor,
    mean: parsed.image_mean ?? defaults.mean,
    std: parsed.image_std ?? defaults.std,
  };
}

/** The video processor folds the rescaling into mean and std, in float32; the image processor does not. */
function foldRescale(settings: PixelSettings): PixelSettings {
  const fold = (value: number): number => Math.fround(Math.fround(value) * Math.fround(1 / settings.rescale));
  return { ...settings, rescale: 1, mean: settings.mean.map(fold), std: settings.std.map(fold) };
}

function checkBounds(name: string, min: number, max: number): void {
  if (!(min > 0 && max >= min)) throw new Error(`expected bounds of ${name} with 0 < min ≤ max, received ${min} and ${max}`);
}

/**
 * Reads the image and video processors of a model directory, as transformers does: processor_config.json, then
 * video_preprocessor_config.json for video, then preprocessor_config.json.
 *
 * @throws Error `file: key: reason` where a field is nonsensical or at odds with the vision tower
 */
export function loadProcessorSettings(
  modelDir: string,
  vision: PatchShape,
  options: ProcessorOptions = {},
  videoDefaults = qwen2VideoDefaults,
): ProcessorSettings {
  const imageSection = needSection(modelDir, 'image_processor', ['preprocessor_config.json']);
  const videoFiles = ['video_preprocessor_config.json', 'preprocessor_config.json'];
  const videoSection = needSection(modelDir, 'video_processor', videoFiles);
  const image = pixelSettings(parseSection(pixelSchema, imageSection), imageSection, vision, imageDefaults);
  const parsedVideo = parseSection(videoSchema, videoSection);
  const video = foldRescale(pixelSettings(parsedVideo, videoSection, vision, videoDefaults));
  const settings: ProcessorSettings = {
    image: {
      ...image,
      minPixels: options.minPixels ?? image.minPixels,
      maxPixels: options.maxPixels ?? image.maxPixels,
    },
    video: {
      ...video,
      minPixels: options.videoMinPixels ?? video.minPixels,
      maxPixels: options.videoMaxPixels ?? video.maxPixels,
      fps: options.fps ?? parsedVideo.fps ?? 2,
      minFrames: options.minFrames ?? parsedVideo.min_frames ?? 4,
      maxFrames: options.maxFrames ?? parsedVideo.max_frames ?? 768,
      capPixelsPerFrame: parsedVideo.cap_pixels_per_frame ?? false,
      maxVideoTokens: parsedVideo.max_video_tokens ?? videoDefaults.maxVideoTokens,
    },
  };
  checkBounds('image pixels', settings.image.minPixels, settings.image.maxPixels);
  checkBounds('video pixels', settings.video.minPixels, settings.video.maxPixels);
  checkBounds('video frames', settings.video.minFrames, settings.video.maxFrames);
  if (!(settings.video.fps > 0)) throw new Error(`expected a positive fps, received ${settings.video.fps}`);
  return settings;
}
