import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../hub/files.js';
import { parsePart, stopTokens } from '../config.js';
import { readDecoderConfig, type DecoderConfig, type DecoderKind } from '../decoder/config.js';

/** What sets one kind of text LLM apart from the others. */
export interface TextKind {
  /** Class of config.json. */
  architecture: string;
  /** `model_type` of config.json. */
  modelType: string;
  decoder: DecoderKind;
}

/**
 * Reads config.json, and the stop tokens from the files beside it, of a text LLM.
 *
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function loadConfig(modelDir: string, { architecture, modelType, decoder }: TextKind): DecoderConfig {
  const file = join(modelDir, 'config.json');
  const raw = readJson(file);
  const rootSchema = z.looseObject({
    model_type: z.literal(modelType),
    tie_word_embeddings: z.boolean().nullish(),
  });
  const root = parsePart(rootSchema, raw, file);
  return readDecoderConfig(raw, decoder, {
    file,
    prefix: '',
    architecture,
    modelType,
    tieWordEmbeddings: root.tie_word_embeddings === true,
    stopTokenIds: stopTokens(modelDir),
  });
}
