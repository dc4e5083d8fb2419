import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../hub/files.js';
import { parsePart, stopTokens } from '../config.js';
import { decoderKinds, readDecoderConfig, type DecoderConfig } from '../decoder/config.js';

/** `model_type` of text LLMs. */
export type TextModelType = keyof typeof decoderKinds;

/** Classes of config.json, by model type. */
export const textArchitectures: Readonly<Record<TextModelType, string>> = {
  llama: 'LlamaForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  qwen3_moe: 'Qwen3MoeForCausalLM',
};

/**
 * Reads config.json, and the stop tokens from the files beside it, of a text LLM.
 *
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function loadConfig(modelDir: string, modelType: TextModelType): DecoderConfig {
  const file = join(modelDir, 'config.json');
  const raw = readJson(file);
  const rootSchema = z.looseObject({
    model_type: z.literal(modelType),
    tie_word_embeddings: z.boolean().nullish(),
  });
  const root = parsePart(rootSchema, raw, file);
  return readDecoderConfig(raw, decoderKinds[modelType], {
    file,
    prefix: '',
    architecture: textArchitectures[modelType],
    modelType,
    tieWordEmbeddings: root.tie_word_embeddings === true,
    stopTokenIds: stopTokens(modelDir),
  });
}
