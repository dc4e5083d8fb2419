import { z } from 'zod';
import { checker, parsePart, tokenId } from '../config.js';
import { readDecoderConfig, type DecoderConfig, type DecoderKind } from '../decoder/config.js';

/** What config.json says of every Qwen-VL model. */
export interface QwenVLConfig<Vision> {
  text: DecoderConfig;
  vision: Vision;
  imageTokenId: number;
  videoTokenId: number;
  visionStartTokenId: number;
  visionEndTokenId: number;
}

/** How a family's config.json is read. */
export interface QwenVLForm {
  /** What config.json must call itself, and the class that it means where it names none. */
  modelType: string;
  architecture: string;
  decoder: DecoderKind;
  /** Whether `tie_word_embeddings` counts in the text decoder's config too. */
  tiedByText: boolean;
}

const rootSchema = z.looseObject({
  architectures: z.array(z.string()).optional(),
  model_type: z.string(),
  text_config: z.record(z.string(), z.unknown()).optional(),
  vision_config: z.record(z.string(), z.unknown()),
  image_token_id: tokenId,
  video_token_id: tokenId,
  vision_start_token_id: tokenId,
  vision_end_token_id: tokenId,
  tie_word_embeddings: z.boolean().optional(),
});

/**
 * Reads all of a parsed config.json but the vision tower's part: nested as transformers 5 writes it, or with the text
 * decoder's keys at the top level as older published checkpoints have it.
 *
 * @param file name used in errors
 * @param stopTokenIds ids that end a turn or a text beside those in config.json; ids outside the vocabulary are dropped
 * @returns with `vision` as it stands in the file
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function readQwenVLConfig(
  raw: unknown,
  form: QwenVLForm,
  file: string,
  stopTokenIds: readonly number[],
): QwenVLConfig<unknown> {
  const root = parsePart(rootSchema.extend({ model_type: z.literal(form.modelType) }), raw, file);
  const tiedByText = form.tiedByText && root.text_config?.['tie_word_embeddings'] === true;
  const text = readDecoderConfig(root.text_config ?? raw, form.decoder, {
    file,
    prefix: root.text_config ? 'text_config.' : '',
    architecture: root.architectures?.[0] ?? form.architecture,
    modelType: root.model_type,
    tieWordEmbeddings: root.tie_word_embeddings === true || tiedByText,
    stopTokenIds,
  });
  const check = checker(file);
  for (const key of ['image_token_id', 'video_token_id', 'vision_start_token_id', 'vision_end_token_id'] as const) {
    check(root[key] < text.vocabSize, key, `expected an id below vocab_size ${text.vocabSize}, received ${root[key]}`);
  }
  return {
    text,
    vision: root.vision_config,
    imageTokenId: root.image_token_id,
    videoTokenId: root.video_token_id,
    visionStartTokenId: root.vision_start_token_id,
    visionEndTokenId: root.vision_end_token_id,
  };
}

/** @throws Error unless heads have a size that a rotary embedding by height and width can turn */
export function checkVisionHeads(file: string, prefix: string, key: string, width: number, heads: number): void {
  checker(file, prefix)(
    Number.isInteger(width / heads / 4),
    'num_heads',
    `expected heads of a size divisible by 4 out of ${key} ${width}, received ${heads} heads`,
  );
}

/** @throws Error unless the tower's tokens are as wide as the decoder's states */
export function checkTokenWidth(file: string, prefix: string, key: string, width: number, text: DecoderConfig): void {
  checker(file, prefix)(
    width === text.hiddenSize,
    key,
    `expected the text decoder's hidden_size ${text.hiddenSize}, received ${width}`,
  );
}
