import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../hub/files.js';
import type { Activation } from '../../native.js';
import type { TargetInfo } from '../target.js';

/** The text decoder: what the modality-blind parts may know, and what its forward pass needs beside. */
export interface Qwen2_5VLTextConfig extends TargetInfo {
  hiddenAct: Activation;
  tieWordEmbeddings: boolean;
}

/** The vision tower. Sizes are in pixels for patches and windows, in features elsewhere. */
export interface Qwen2_5VLVisionConfig {
  depth: number;
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  inChannels: number;
  patchSize: number;
  temporalPatchSize: number;
  /** Patches per side that are merged into one token. */
  spatialMergeSize: number;
  windowSize: number;
  /** Blocks that attend to the whole frame; the others attend within windows. */
  fullAttentionBlockIndexes: number[];
  /** Width of the merger's output: the text decoder's hidden size. */
  outHiddenSize: number;
  tokensPerSecond: number;
  hiddenAct: Activation;
  /** Base of the two-dimensional rotary embedding. */
  ropeTheta: number;
}

/** config.json of a `Qwen2_5_VLForConditionalGeneration`, whichever version of transformers wrote it. */
export interface Qwen2_5VLConfig {
  text: Qwen2_5VLTextConfig;
  vision: Qwen2_5VLVisionConfig;
  imageTokenId: number;
  videoTokenId: number;
  visionStartTokenId: number;
  visionEndTokenId: number;
}

const architecture = 'Qwen2_5_VLForConditionalGeneration';

const count = z.int().positive();
const tokenId = z.int().nonnegative();
const tokenIds = z.union([tokenId.transform((id) => [id]), z.array(tokenId)]);
const activation = z
  .enum(['silu', 'gelu', 'gelu_pytorch_tanh', 'quick_gelu'])
  .transform((name): Activation => (name === 'gelu_pytorch_tanh' ? 'gelu_tanh' : name));

const ropeSchema = z.looseObject({
  rope_type: z.enum(['default', 'mrope']).optional(),
  type: z.enum(['default', 'mrope']).optional(),
  rope_theta: z.number().positive().optional(),
  mrope_section: z.array(count).length(3),
});

const textSchema = z.object({
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  intermediate_size: count,
  vocab_size: count,
  rms_norm_eps: z.number().positive(),
  max_position_embeddings: count,
  hidden_act: activation,
  use_sliding_window: z
    .literal(false, 'sliding-window attention is not supported: expected false, received true')
    .nullish(),
  rope_parameters: ropeSchema.nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_theta: z.number().positive().optional(),
  tie_word_embeddings: z.boolean().optional(),
  eos_token_id: tokenIds.nullish(),
  bos_token_id: tokenId.nullish(),
  pad_token_id: tokenId.nullish(),
});

const visionSchema = z.object({
  depth: count,
  hidden_size: count,
  intermediate_size: count,
  num_heads: count,
  // Published files call it in_chans, which transformers ignores in favour of its default.
  in_channels: z.literal(3).default(3),
  patch_size: count,
  temporal_patch_size: count.default(2),
  spatial_merge_size: count,
  window_size: count,
  fullatt_block_indexes: z.array(z.int().nonnegative()),
  out_hidden_size: count,
  tokens_per_second: z.number().positive(),
  hidden_act: activation,
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().optional() }).nullish(),
});

const rootSchema = z.looseObject({
  architectures: z.array(z.string()).optional(),
  model_type: z.literal('qwen2_5_vl'),
  text_config: z.record(z.string(), z.unknown()).optional(),
  vision_config: z.record(z.string(), z.unknown()),
  image_token_id: tokenId,
  video_token_id: tokenId,
  vision_start_token_id: tokenId,
  vision_end_token_id: tokenId,
  tie_word_embeddings: z.boolean().optional(),
});

/** Parses a part of config.json; an error names the file and the key. */
function parsePart<T>(schema: z.ZodType<T>, value: unknown, file: string, prefix = ''): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `${file}: ${prefix}${issue.path.join('.')}: ${issue.message}`);
  throw new Error(lines.join('\n'));
}

/**
 * Reads a parsed config.json: nested as transformers 5 writes it, or with the text decoder's keys at the top level as
 * published checkpoints have it.
 *
 * @param file name used in errors
 * @param stopTokenIds ids that end a turn or a text beside those in config.json; ids outside the vocabulary are dropped
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function parseConfig(raw: unknown, file: string, stopTokenIds: readonly number[] = []): Qwen2_5VLConfig {
  const root = parsePart(rootSchema, raw, file);
  const textPrefix = root.text_config ? 'text_config.' : '';
  const text = parsePart(textSchema, root.text_config ?? raw, file, textPrefix);
  const vision = parsePart(visionSchema, root.vision_config, file, 'vision_config.');
  const check = (holds: boolean, key: string, reason: string): void => {
    if (!holds) throw new Error(`${file}: ${key}: ${reason}`);
  };

  const rope = text.rope_parameters ?? text.rope_scaling;
  const ropeKey = `${textPrefix}${text.rope_parameters ? 'rope_parameters' : 'rope_scaling'}`;
  if (!rope) throw new Error(`${file}: ${ropeKey}: expected an object with mrope_section, received nothing`);
  const theta = rope.rope_theta ?? text.rope_theta;
  if (theta === undefined) throw new Error(`${file}: ${textPrefix}rope_theta: expected a number, received nothing`);

  const heads = text.num_attention_heads;
  const kvHeads = text.num_key_value_heads ?? heads;
  const headDim = text.hidden_size / heads;
  const sections = rope.mrope_section.reduce((sum, n) => sum + n, 0);
  check(
    Number.isInteger(headDim / 2),
    `${textPrefix}num_attention_heads`,
    `expected heads of an even size out of hidden_size ${text.hidden_size}, received ${heads} heads`,
  );
  check(
    heads % kvHeads === 0,
    `${textPrefix}num_key_value_heads`,
    `expected a divisor of ${heads}, received ${kvHeads}`,
  );
  check(
    sections === headDim / 2,
    `${ropeKey}.mrope_section`,
    `expected a sum of ${headDim / 2} (half the head size), received ${sections}`,
  );
  check(
    Number.isInteger(vision.hidden_size / vision.num_heads / 4),
    'vision_config.num_heads',
    `expected heads of a size divisible by 4 out of hidden_size ${vision.hidden_size}, received ${vision.num_heads} heads`,
  );
  check(
    vision.out_hidden_size === text.hidden_size,
    'vision_config.out_hidden_size',
    `expected the text decoder's hidden_size ${text.hidden_size}, received ${vision.out_hidden_size}`,
  );
  check(
    vision.window_size >= vision.patch_size * vision.spatial_merge_size,
    'vision_config.window_size',
    `expected at least one merged patch of ${vision.patch_size * vision.spatial_merge_size} pixels, received ${vision.window_size}`,
  );
  for (const key of ['image_token_id', 'video_token_id', 'vision_start_token_id', 'vision_end_token_id'] as const) {
    check(root[key] < text.vocab_size, key, `expected an id below vocab_size ${text.vocab_size}, received ${root[key]}`);
  }

  const inVocabulary = (id: number): boolean => id < text.vocab_size;
  return {
    text: {
      architecture: root.architectures?.[0] ?? architecture,
      modelType: root.model_type,
      hiddenSize: text.hidden_size,
      numLayers: text.num_hidden_layers,
      numHeads: heads,
      numKeyValueHeads: kvHeads,
      headDim,
      intermediateSize: text.intermediate_size,
      vocabSize: text.vocab_size,
      rmsNormEps: text.rms_norm_eps,
      maxPositionEmbeddings: text.max_position_embeddings,
      rotary: {
        theta,
        headDim,
        partialRotaryFactor: 1,
        mropeSection: rope.mrope_section,
        mropeInterleaved: false,
        scaling: rope,
      },
      eosTokenIds: [...new Set([...stopTokenIds, ...(text.eos_token_id ?? [])])].filter(inVocabulary),
      ...(text.bos_token_id != null && inVocabulary(text.bos_token_id) && { bosTokenId: text.bos_token_id }),
      ...(text.pad_token_id != null && inVocabulary(text.pad_token_id) && { padTokenId: text.pad_token_id }),
      hiddenAct: text.hidden_act,
      tieWordEmbeddings: root.tie_word_embeddings === true || text.tie_word_embeddings === true,
    },
    vision: {
      depth: vision.depth,
      hiddenSize: vision.hidden_size,
      intermediateSize: vision.intermediate_size,
      numHeads: vision.num_heads,
      inChannels: vision.in_channels,
      patchSize: vision.patch_size,
      temporalPatchSize: vision.temporal_patch_size,
      spatialMergeSize: vision.spatial_merge_size,
      windowSize: vision.window_size,
      fullAttentionBlockIndexes: vision.fullatt_block_indexes,
      outHiddenSize: vision.out_hidden_size,
      tokensPerSecond: vision.tokens_per_second,
      hiddenAct: vision.hidden_act,
      ropeTheta: vision.rope_parameters?.rope_theta ?? 10000,
    },
    imageTokenId: root.image_token_id,
    videoTokenId: root.video_token_id,
    visionStartTokenId: root.vision_start_token_id,
    visionEndTokenId: root.vision_end_token_id,
  };
}

const generationSchema = z.object({ eos_token_id: tokenIds.nullish() });
const tokenizerConfigSchema = z.object({
  eos_token: z.union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)]).nullish(),
});
const tokenizerSchema = z.object({
  added_tokens: z.array(z.object({ id: tokenId, content: z.string() })).optional(),
});

/** Ids that end generation: those of generation_config.json, and the token that tokenizer_config.json ends turns with. */
function stopTokens(modelDir: string): number[] {
  const ids: number[] = [];
  const generationFile = join(modelDir, 'generation_config.json');
  if (existsSync(generationFile)) {
    ids.push(...(parsePart(generationSchema, readJson(generationFile), generationFile).eos_token_id ?? []));
  }
  const configFile = join(modelDir, 'tokenizer_config.json');
  const tokenizerFile = join(modelDir, 'tokenizer.json');
  if (existsSync(configFile) && existsSync(tokenizerFile)) {
    const { eos_token: turnEnd } = parsePart(tokenizerConfigSchema, readJson(configFile), configFile);
    const { added_tokens: added } = parsePart(tokenizerSchema, readJson(tokenizerFile), tokenizerFile);
    const token = added?.find(({ content }) => content === turnEnd);
    if (token) ids.push(token.id);
  }
  return ids;
}

/** Reads config.json, and the stop tokens from the files beside it, of a model directory. */
export function loadConfig(modelDir: string): Qwen2_5VLConfig {
  const file = join(modelDir, 'config.json');
  return parseConfig(readJson(file), file, stopTokens(modelDir));
}
