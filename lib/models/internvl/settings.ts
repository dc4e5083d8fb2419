import { z } from 'zod';
import { count } from '../config.js';
import type { ProcessorOptions } from '../family.js';
import {
  always,
  channels,
  clipMean,
  clipStd,
  findSection,
  needSection,
  parseSection,
  resample,
  type Filter,
  type ProcessorSection,
} from '../processor-files.js';
import type { InternVLConfig, TilingConfig } from './config.js';

/** How a tile becomes pixels. */
export interface PixelSettings {
  /** Side of a tile. */
  size: number;
  filter: Filter;
  /** Value of a channel: (byte · rescale − mean) / std. */
  rescale: number;
  mean: number[];
  std: number[];
}

/** Frames that are taken of a clip. */
export interface ClipSettings {
  /** A fixed number; absent where frames are taken by `fps`. */
  numFrames?: number;
  fps?: number;
  minFrames: number;
  maxFrames: number;
}

export interface ProcessorSettings {
  image: PixelSettings & TilingConfig;
  video: PixelSettings & ClipSettings;
}

const imageNet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** What SGLang, vLLM and OpenGVLab's `load_video` take of a clip where nothing is said. */
const defaultFrames = 32;

const pixelSchema = z.object({
  size: z.object({ height: count, width: count }).default({ height: 384, width: 384 }),
  resample,
  rescale_factor: z.number().positive().default(1 / 255),
  image_mean: channels.default(clipMean),
  image_std: channels.default(clipStd),
  do_resize: always,
  do_rescale: always,
  do_normalize: always,
});

const imageSchema = pixelSchema.extend({
  min_patches: count.default(1),
  max_patches: count.default(12),
});

const videoSchema = pixelSchema.extend({
  num_frames: count.nullish(),
  fps: z.number().positive().nullish(),
});

function pixelSettings(
  parsed: z.infer<typeof pixelSchema>,
  { file, prefix }: ProcessorSection,
  { imageSize }: InternVLConfig['vision'],
): PixelSettings {
  const { height, width } = parsed.size;
  if (height !== imageSize || width !== imageSize) {
    throw new Error(
      `${file}: ${prefix}size: expected vision_config.image_size ${imageSize} a side, received ${width}×${height}: ` +
        'positions are not interpolated',
    );
  }
  return {
    size: imageSize,
    filter: parsed.resample,
    rescale: parsed.rescale_factor,
    mean: parsed.image_mean,
    std: parsed.image_std,
  };
}

/** As transformers reads them; its processor tiles pictures whatever `crop_to_patches` says. */
function readTransformers(modelDir: string, { vision }: InternVLConfig): ProcessorSettings {
  const imageSection = needSection(modelDir, 'image_processor', ['preprocessor_config.json']);
  const videoFiles = ['video_preprocessor_config.json', 'preprocessor_config.json'];
  const videoSection = findSection(modelDir, 'video_processor', videoFiles) ?? imageSection;
  const image = parseSection(imageSchema, imageSection);
  const video = parseSection(videoSchema, videoSection);
  return {
    image: {
      ...pixelSettings(image, imageSection, vision),
      minTiles: image.min_patches,
      maxTiles: image.max_patches,
      thumbnail: true,
    },
    video: {
      ...pixelSettings(video, videoSection, vision),
      ...(video.num_frames != null && { numFrames: video.num_frames }),
      ...(video.num_frames == null && video.fps != null && { fps: video.fps }),
      minFrames: 1,
      maxFrames: Infinity,
    },
  };
}

/** OpenGVLab's code has the pixels' constants in itself and the tiling in config.json. */
function originalSettings({ vision }: InternVLConfig, tiling: TilingConfig): ProcessorSettings {
  const pixels: PixelSettings = { size: vision.imageSize, filter: 'bicubic', rescale: 1 / 255, ...imageNet };
  return { image: { ...pixels, ...tiling }, video: { ...pixels, minFrames: 1, maxFrames: Infinity } };
}

/**
 * Reads how pictures and clips are processed: from the processors' files in transformers' layout, from config.json in
 * the original one. Of the options `fps`, `minFrames` and `maxFrames` count.
 *
 * @throws Error `file: key: reason` where a field is nonsensical or at odds with the vision tower
 */
export function loadProcessorSettings(
  modelDir: string,
  config: InternVLConfig,
  { fps, minFrames, maxFrames }: ProcessorOptions = {},
): ProcessorSettings {
  const { image, video } = config.tiling ? originalSettings(config, config.tiling) : readTransformers(modelDir, config);
  if (image.minTiles > image.maxTiles) {
    throw new Error(`expected at least as many tiles at most as at least, received ${image.minTiles} to ${image.maxTiles}`);
  }
  const { numFrames, ...rest } = video;
  const fixed = fps === undefined && video.fps === undefined ? (numFrames ?? defaultFrames) : undefined;
  const settings = {
    ...rest,
    ...(fixed !== undefined && { numFrames: fixed }),
    ...(fps !== undefined && { fps }),
    minFrames: minFrames ?? video.minFrames,
    maxFrames: maxFrames ?? video.maxFrames,
  };
  if (!(settings.minFrames > 0 && settings.maxFrames >= settings.minFrames)) {
    throw new Error(
      `expected bounds of video frames with 0 < min ≤ max, received ${settings.minFrames} and ${settings.maxFrames}`,
    );
  }
  return { image, video: settings };
}
