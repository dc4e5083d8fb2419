import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { isObject, readJsonObject } from '../hub/files.js';
import { parsePart } from './config.js';

/** Atoms of the configs of image, video and sound processors. */
export const channels = z.array(z.number()).length(3);
export const always = z.literal(true, 'only true is supported').nullish();

export type Filter = 'bicubic' | 'bilinear' | 'lanczos';

const filters: Record<number, Filter> = { 1: 'lanczos', 2: 'bilinear', 3: 'bicubic' };

/** Numbers of PIL.Image.Resampling. */
export const resample = z
  .literal([1, 2, 3])
  .default(3)
  .transform((code) => filters[code]!);

/** Of OpenAI's CLIP, the default of many processors. */
export const clipMean = [0.48145466, 0.4578275, 0.40821073];
export const clipStd = [0.26862954, 0.26130258, 0.27577711];

/** The config of one of a model's processors. */
export interface ProcessorSection {
  /** For messages. */
  file: string;
  /** Of its keys in the file, with a dot. */
  prefix: string;
  value: unknown;
}

/**
 * The first of a model's files that describes a processor: nested in processor_config.json since transformers 5, else one
 * of `files`; undefined where there is none.
 */
export function findSection(
  modelDir: string,
  nested: string,
  files: readonly string[],
): ProcessorSection | undefined {
  const combined = join(modelDir, 'processor_config.json');
  const section = existsSync(combined) ? readJsonObject(combined)[nested] : undefined;
  if (isObject(section)) return { file: combined, prefix: `${nested}.`, value: section };
  const file = files.map((name) => join(modelDir, name)).find((path) => existsSync(path));
  return file === undefined ? undefined : { file, prefix: '', value: readJsonObject(file) };
}

/** {@link findSection}, with an error that names the files where there is none. */
export function needSection(modelDir: string, nested: string, files: readonly string[]): ProcessorSection {
  const section = findSection(modelDir, nested, files);
  if (section) return section;
  throw new Error(`${modelDir}: expected ${files.join(' or ')}, or processor_config.json with ${nested}`);
}

/** {@link parsePart} of a section. */
export function parseSection<T>(schema: z.ZodType<T>, { file, prefix, value }: ProcessorSection): T {
  return parsePart(schema, value, file, prefix);
}
