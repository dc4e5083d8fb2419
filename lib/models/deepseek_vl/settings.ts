import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonObject } from '../../hub/files.js';
import { count, parsePart } from '../config.js';
import {
  always,
  channels,
  clipMean,
  clipStd,
  needSection,
  parseSection,
  resample,
  type Filter,
} from '../processor-files.js';
import { tokensPerPicture, type DeepseekVLConfig, type Normalization } from './config.js';
import { imageTag } from './original-config.js';

/** How a picture becomes a square of values. */
export interface PictureSettings {
  /** Of the square's side. */
  size: number;
  /** The shorter side has at least so many pixels, whatever the shape. */
  minSize: number;
  /** How sides are made whole: to the nearest number, halves to even ones (transformers), or the one below (DeepSeek). */
  rounding: 'nearest' | 'down';
  filter: Filter;
  /** Colour of what the picture does not fill. */
  background: readonly [number, number, number];
  /** Value of a channel: (byte · rescale − mean) / std. */
  rescale: number;
  mean: number[];
  std: number[];
}

/** In hybrid models the picture is a padded square in high resolution first, and that is made smaller. */
export interface ProcessorSettings {
  image: PictureSettings;
  highRes?: PictureSettings;
  /**
   * How the smaller square is made: of bytes, by Pillow's resize (transformers), or of numbers between 0 and 1, by
   * torch's antialiased bilinear one (DeepSeek).
   */
  shrink: 'bytes' | 'numbers';
}

const gray = [127, 127, 127] as const;

const square = z
  .union([count, z.object({ height: count, width: count })])
  .transform((size) => (typeof size === 'number' ? { height: size, width: size } : size))
  .refine(({ height, width }) => height === width, 'only squares are supported')
  .transform(({ height }) => height);

const transformersSchema = z.object({
  size: square.default(384),
  high_res_size: square.default(1024),
  min_size: count.default(14),
  resample,
  high_res_resample: resample,
  rescale_factor: z.number().positive().default(1 / 255),
  image_mean: channels.nullish(),
  image_std: channels.nullish(),
  high_res_image_mean: channels.nullish(),
  high_res_image_std: channels.nullish(),
  do_resize: always,
  do_pad: always,
  do_rescale: always,
  do_normalize: always,
});

const originalSchema = z.object({
  image_size: count,
  min_size: count.default(14),
  rescale_factor: z.number().positive().default(1 / 255),
  image_mean: channels.nullable().default(clipMean),
  image_std: channels.nullable().default(clipStd),
  do_normalize: z.boolean().default(true),
});

const tokensSchema = z.object({
  num_image_tokens: count.default(576),
  image_tag: z.literal(imageTag).default(imageTag),
  add_special_token: z.literal(false, 'only false is supported').default(false),
  sft_format: z.literal('deepseek', 'only "deepseek" is supported').default('deepseek'),
});

/** The colour that stands for the mean; Python's `int` cuts off. */
function colorOf(mean: readonly number[]): [number, number, number] {
  const [red, green, blue] = mean.map((value) => Math.trunc(value * 255));
  return [red!, green!, blue!];
}

function readTransformers(modelDir: string, hybrid: boolean): ProcessorSettings {
  const section = needSection(modelDir, 'image_processor', ['preprocessor_config.json']);
  const parsed = parseSection(transformersSchema, section);
  const common = { minSize: parsed.min_size, rounding: 'nearest', rescale: parsed.rescale_factor } as const;
  const mean = parsed.image_mean ?? clipMean;
  const image: PictureSettings = {
    ...common,
    size: parsed.size,
    filter: parsed.resample,
    background: hybrid && !parsed.image_mean ? gray : colorOf(mean),
    mean,
    std: parsed.image_std ?? clipStd,
  };
  if (!hybrid) return { image, shrink: 'bytes' };
  const highRes: PictureSettings = {
    ...common,
    size: parsed.high_res_size,
    filter: parsed.high_res_resample,
    background: parsed.high_res_image_mean ? colorOf(parsed.high_res_image_mean) : gray,
    mean: parsed.high_res_image_mean ?? clipMean,
    std: parsed.high_res_image_std ?? clipStd,
  };
  return { image, highRes, shrink: 'bytes' };
}

/** One normalisation after another as one. */
function compose(first: Normalization | undefined, second: Normalization | undefined): Normalization {
  const [a, b] = [first, second].map((step) => step ?? { mean: [0, 0, 0], std: [1, 1, 1] });
  return {
    mean: a!.mean.map((mean, c) => mean + a!.std[c]! * b!.mean[c]!),
    std: a!.std.map((std, c) => std * b!.std[c]!),
  };
}

/** DeepSeek's processor makes one square; its towers normalise what they get, a hybrid one makes the smaller square. */
function readOriginal(modelDir: string, { vision, highRes, normalization }: DeepseekVLConfig): ProcessorSettings {
  const file = join(modelDir, 'preprocessor_config.json');
  const parsed = parsePart(originalSchema, readJsonObject(file), file);
  const own =
    parsed.do_normalize && parsed.image_mean && parsed.image_std
      ? { mean: parsed.image_mean, std: parsed.image_std }
      : undefined;
  const square: Omit<PictureSettings, keyof Normalization> = {
    size: parsed.image_size,
    minSize: parsed.min_size,
    rounding: 'down',
    filter: 'bicubic',
    background: parsed.image_mean ? colorOf(parsed.image_mean) : gray,
    rescale: parsed.rescale_factor,
  };
  const image = { ...square, ...compose(own, normalization?.vision) };
  if (!highRes) return { image, shrink: 'bytes' };
  return {
    image: { ...image, size: vision.imageSize },
    highRes: { ...square, ...compose(own, normalization?.highRes) },
    shrink: 'numbers',
  };
}

/**
 * Reads how pictures are processed from the processor's files, in either layout.
 *
 * @throws Error `file: key: reason` where a field is nonsensical or at odds with the towers
 */
export function loadProcessorSettings(modelDir: string, config: DeepseekVLConfig): ProcessorSettings {
  const { layout, vision, highRes } = config;
  const original = layout === 'original';
  const settings = original ? readOriginal(modelDir, config) : readTransformers(modelDir, highRes !== undefined);
  for (const [name, square, tower] of [
    ['size', settings.image, vision],
    ['high_res_size', settings.highRes, highRes],
  ] as const) {
    if (square?.size === tower?.imageSize) continue;
    throw new Error(
      `${modelDir}: the image processor's ${original ? 'image_size' : name}: expected the ${tower!.imageSize} pixels of ` +
        `config.json's tower, received ${square!.size}`,
    );
  }
  const file = join(modelDir, 'processor_config.json');
  const { num_image_tokens: tokens } = parsePart(tokensSchema, existsSync(file) ? readJsonObject(file) : {}, file);
  if (tokens !== tokensPerPicture(config)) {
    throw new Error(
      `${file}: num_image_tokens: expected the ${tokensPerPicture(config)} patches of config.json's vision tower, ` +
        `received ${tokens}`,
    );
  }
  return settings;
}
