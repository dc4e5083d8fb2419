import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, readJsonObject } from '../../hub/files.js';
import type { Activation } from '../../native.js';
import { activation, checker, count, parsePart, stopTokens, tokenId } from '../config.js';
import { decoderKinds, readDecoderConfig, type DecoderConfig, type DecoderKind } from '../decoder/config.js';

/** InternViT. */
export interface InternVisionConfig {
  depth: number;
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  /** Pixels of a tile's side, and of a patch's. */
  imageSize: number;
  patchSize: number;
  hiddenAct: Activation;
  norm: 'layer' | 'rms';
  normEps: number;
  /** Epsilon of the RMS norms over q and k; absent where there are none. */
  queryKeyNormEps?: number;
  qkvBias: boolean;
  absolutePositions: boolean;
  /** Whether a layer norm follows the last layer. */
  finalNorm: boolean;
}

/** How a picture is cut into tiles. */
export interface TilingConfig {
  minTiles: number;
  maxTiles: number;
  /** Whether the whole picture follows the tiles, where there are several. */
  thumbnail: boolean;
}

/** config.json of `InternVLForConditionalGeneration` (transformers) or `InternVLChatModel` (OpenGVLab's own code). */
export interface InternVLConfig {
  /** Whose names the config and the weights have. */
  layout: 'transformers' | 'original';
  /** Whether the text decoder has InternLM2's weight names. */
  internlm2: boolean;
  text: DecoderConfig;
  vision: InternVisionConfig;
  imageTokenId: number;
  /** Patches per side that are shuffled into one token. */
  mergeSize: number;
  /** Layers of the tower that are run. */
  featureLayers: number;
  projectorAct: Activation;
  /** In the original layout; the image processor's config has it otherwise. */
  tiling?: TilingConfig;
  /** Name of the conversation that the original layout's own code renders. */
  conversation?: string;
}

/** Token that a tile's features fill; only transformers' config has its id. */
export const contextToken = '<IMG_CONTEXT>';

const transformersClass = 'InternVLForConditionalGeneration';
const originalClass = 'InternVLChatModel';
export const architectures = [transformersClass, originalClass] as const;

/** Kinds of decoders by `model_type`; InternLM2 is a Llama under other names. */
const kinds: Readonly<Record<string, DecoderKind>> = { ...decoderKinds, internlm2: decoderKinds.llama };

/** A side, given once or for height and width. */
const side = z
  .union([count, z.tuple([count, count])])
  .transform((value) => (typeof value === 'number' ? [value, value] : value))
  .refine(([height, width]) => height === width, 'only squares are supported')
  .transform(([height]) => height!);

const norms = { layer_norm: 'layer', rms_norm: 'rms' } as const;

const visionSchema = z.object({
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  intermediate_size: count,
  hidden_act: activation.default('gelu'),
  norm_type: z.enum(['layer_norm', 'rms_norm']).optional(),
  layer_norm_eps: z.number().positive().default(1e-6),
  image_size: side,
  patch_size: side.default(14),
  num_channels: z.literal(3).default(3),
});

const transformersVisionSchema = visionSchema.extend({
  hidden_size: count.default(1024),
  num_hidden_layers: count.default(24),
  num_attention_heads: count.default(16),
  intermediate_size: count.default(4096),
  image_size: side.default(448),
  attention_bias: z.boolean().default(false),
  use_qk_norm: z.boolean().default(false),
  use_absolute_position_embeddings: z.boolean().default(true),
  use_mean_pooling: z.boolean().default(true),
});

const originalVisionSchema = visionSchema.extend({
  qkv_bias: z.boolean().default(false),
  qk_normalization: z.boolean().default(true),
});

const part = z.record(z.string(), z.unknown());
/** 1 / n for a whole n, as n. */
const downsampling = z
  .number()
  .positive()
  .max(1)
  .default(0.5)
  .refine((ratio) => Number.isInteger(1 / ratio), 'expected 1 / n for a whole number n')
  .transform((ratio) => 1 / ratio);

const transformersSchema = z.object({
  text_config: part,
  vision_config: part.default({}),
  image_token_id: tokenId.default(151667),
  downsample_ratio: downsampling,
  projector_hidden_act: activation.default('gelu'),
  vision_feature_layer: z.literal(-1, 'only the last layer (-1) is supported').default(-1),
  vision_feature_select_strategy: z.literal('default', 'only "default" is supported').default('default'),
  tie_word_embeddings: z.boolean().default(true),
});

const originalSchema = z.object({
  llm_config: part,
  vision_config: part,
  downsample_ratio: downsampling,
  select_layer: z.int().default(-1),
  ps_version: z.literal('v2', 'only pixel shuffle "v2" is supported'),
  force_image_size: count.nullish(),
  dynamic_image_size: z.boolean().default(false),
  use_thumbnail: z.boolean().default(false),
  min_dynamic_patch: count.default(1),
  max_dynamic_patch: count.default(6),
  tie_word_embeddings: z.boolean().nullish(),
  template: z.string().nullish(),
});

interface TextContext {
  file: string;
  prefix: string;
  architecture: string;
  modelType: string;
  tieWordEmbeddings: boolean;
  stopTokenIds: readonly number[];
}

/** Fields of InternLM2 under Llama's names, with the defaults of its config class. */
function fromInternLM2(value: Record<string, unknown>): Record<string, unknown> {
  return { rope_theta: 10000, ...value, attention_bias: value['bias'] ?? true };
}

function readText(value: Record<string, unknown>, context: TextContext): { text: DecoderConfig; internlm2: boolean } {
  const modelType = value['model_type'] ?? 'qwen2';
  const kind = typeof modelType === 'string' && Object.hasOwn(kinds, modelType) ? kinds[modelType] : undefined;
  if (!kind) {
    throw new Error(
      `${context.file}: ${context.prefix}model_type: expected one of ${Object.keys(kinds).join(', ')}, ` +
        `received ${JSON.stringify(modelType)}`,
    );
  }
  const internlm2 = modelType === 'internlm2';
  return { text: readDecoderConfig(internlm2 ? fromInternLM2(value) : value, kind, context), internlm2 };
}

/** What both layouts say of the tower in the same words. */
function commonVision(vision: z.infer<typeof visionSchema>, normType: keyof typeof norms) {
  return {
    depth: vision.num_hidden_layers,
    hiddenSize: vision.hidden_size,
    intermediateSize: vision.intermediate_size,
    numHeads: vision.num_attention_heads,
    imageSize: vision.image_size,
    patchSize: vision.patch_size,
    hiddenAct: vision.hidden_act,
    norm: norms[vision.norm_type ?? normType],
    normEps: vision.layer_norm_eps,
  };
}

function parseTransformers(raw: unknown, file: string, stopTokenIds: readonly number[]): InternVLConfig {
  const root = parsePart(transformersSchema, raw, file);
  const vision = parsePart(transformersVisionSchema, root.vision_config, file, 'vision_config.');
  return {
    layout: 'transformers',
    ...readText(root.text_config, {
      file,
      prefix: 'text_config.',
      architecture: transformersClass,
      modelType: 'internvl',
      tieWordEmbeddings: root.tie_word_embeddings,
      stopTokenIds,
    }),
    vision: {
      ...commonVision(vision, 'layer_norm'),
      // transformers leaves these norms at their default epsilon.
      ...(vision.use_qk_norm && { queryKeyNormEps: 1e-6 }),
      qkvBias: vision.attention_bias,
      absolutePositions: vision.use_absolute_position_embeddings,
      finalNorm: !vision.use_mean_pooling,
    },
    imageTokenId: root.image_token_id,
    mergeSize: root.downsample_ratio,
    featureLayers: vision.num_hidden_layers,
    projectorAct: root.projector_hidden_act,
  };
}

function parseOriginal(raw: unknown, file: string, modelDir: string, stopTokenIds: readonly number[]): InternVLConfig {
  const root = parsePart(originalSchema, raw, file);
  const vision = parsePart(originalVisionSchema, root.vision_config, file, 'vision_config.');
  const check = checker(file);
  const size = root.force_image_size ?? vision.image_size;
  check(
    size === vision.image_size,
    'force_image_size',
    `expected vision_config.image_size ${vision.image_size}, received ${size}: positions are not interpolated`,
  );
  const depth = vision.num_hidden_layers;
  const featureLayers = root.select_layer < 0 ? depth + 1 + root.select_layer : root.select_layer;
  check(
    featureLayers >= 0 && featureLayers <= depth,
    'select_layer',
    `expected a layer of the ${depth} of the vision tower, received ${root.select_layer}`,
  );
  const { dynamic_image_size: dynamic } = root;
  return {
    layout: 'original',
    ...readText(root.llm_config, {
      file,
      prefix: 'llm_config.',
      architecture: originalClass,
      modelType: 'internvl_chat',
      tieWordEmbeddings: root.tie_word_embeddings === true || root.llm_config['tie_word_embeddings'] === true,
      stopTokenIds,
    }),
    vision: {
      ...commonVision(vision, 'rms_norm'),
      ...(vision.qk_normalization && { queryKeyNormEps: vision.layer_norm_eps }),
      qkvBias: vision.qkv_bias,
      absolutePositions: true,
      finalNorm: false,
    },
    imageTokenId: contextTokenId(modelDir),
    mergeSize: root.downsample_ratio,
    featureLayers,
    projectorAct: 'gelu',
    tiling: {
      minTiles: dynamic ? root.min_dynamic_patch : 1,
      maxTiles: dynamic ? root.max_dynamic_patch : 1,
      thumbnail: root.use_thumbnail,
    },
    ...(root.template != null && { conversation: root.template }),
  };
}

/** Id of {@link contextToken} among the added tokens of the tokenizer's files. */
function contextTokenId(modelDir: string): number {
  const tokens = z.looseObject({
    added_tokens: z.array(z.object({ id: tokenId, content: z.string() })).optional(),
    added_tokens_decoder: z.record(z.string(), z.object({ content: z.string() })).optional(),
  });
  const files = ['tokenizer.json', 'tokenizer_config.json'].map((name) => join(modelDir, name));
  for (const file of files.filter(existsSync)) {
    const { added_tokens: added = [], added_tokens_decoder: decoder = {} } = parsePart(tokens, readJson(file), file);
    const listed = [...added, ...Object.entries(decoder).map(([id, { content }]) => ({ id: Number(id), content }))];
    const found = listed.find(({ content }) => content === contextToken);
    if (found) return found.id;
  }
  throw new Error(`${modelDir}: expected tokenizer.json or tokenizer_config.json to add the token ${contextToken}`);
}

/**
 * Reads config.json, and the tokens from the files beside it, of a model directory in either layout.
 *
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function loadConfig(modelDir: string): InternVLConfig {
  const file = join(modelDir, 'config.json');
  const raw = readJsonObject(file);
  const stopTokenIds = stopTokens(modelDir);
  const original = raw['llm_config'] !== undefined;
  const config = original ? parseOriginal(raw, file, modelDir, stopTokenIds) : parseTransformers(raw, file, stopTokenIds);
  const { vision, text, mergeSize, imageTokenId } = config;
  const check = checker(file);
  const { hiddenSize, numHeads, imageSize, patchSize } = vision;
  check(
    Number.isInteger(hiddenSize / numHeads),
    'vision_config.num_attention_heads',
    `expected a divisor of hidden_size ${hiddenSize}, received ${numHeads}`,
  );
  check(
    Number.isInteger(imageSize / patchSize / mergeSize),
    'vision_config.image_size',
    `expected a multiple of ${patchSize * mergeSize} pixels (patch_size / downsample_ratio), received ${imageSize}`,
  );
  check(
    imageTokenId < text.vocabSize,
    original ? contextToken : 'image_token_id',
    `expected an id below vocab_size ${text.vocabSize}, received ${imageTokenId}`,
  );
  return config;
}

/** Tokens that one tile fills. */
export function tokensPerTile({ vision, mergeSize }: InternVLConfig): number {
  return (vision.imageSize / vision.patchSize / mergeSize) ** 2;
}
