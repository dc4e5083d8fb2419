import { join } from 'node:path';
import { z } from 'zod';
import { readJsonObject } from '../../hub/files.js';
import type { Activation } from '../../native.js';
import { activation, checker, count, parsePart, stopTokens, tokenId } from '../config.js';
import type { DecoderConfig } from '../decoder/config.js';
import { architectures } from './architectures.js';
import { readOriginalConfig } from './original-config.js';
import { readText } from './text-config.js';

/** Sizes of a tower of squares: pixels of a picture's side and of a patch's. */
interface TowerConfig {
  depth: number;
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  imageSize: number;
  patchSize: number;
  activation: Activation;
  normEps: number;
}

export type SiglipConfig = TowerConfig;

/** The image encoder of Segment Anything. */
export interface SamConfig extends TowerConfig {
  qkvBias: boolean;
  /** Patches per side of a window that layers attend in; 0 if all of them see the whole picture. */
  windowSize: number;
  /** Layers that see the whole picture; features are also taken after the first of these. */
  globalLayers: readonly number[];
  /** Channels of the neck. */
  outputChannels: number;
}

/** Mean and standard deviation by channel: what a tower subtracts and divides by itself. */
export interface Normalization {
  mean: number[];
  std: number[];
}

/** config.json of transformers' classes, or of `MultiModalityCausalLM` (DeepSeek's own code). */
export interface DeepseekVLConfig {
  /** Whose names the config and the weights have. */
  layout: 'transformers' | 'original';
  text: DecoderConfig;
  vision: SiglipConfig;
  /** The tower of the picture in high resolution, in hybrid models. */
  highRes?: SamConfig;
  /** What the towers do to pixels before anything else, in the original layout. */
  normalization?: { vision?: Normalization; highRes?: Normalization };
  imageTokenId: number;
}

/** A side, given once or for height and width. */
const side = z
  .union([count, z.tuple([count, count])])
  .transform((value) => (typeof value === 'number' ? [value, value] : value))
  .refine(([height, width]) => height === width, 'only squares are supported')
  .transform(([height]) => height!);

const part = z.record(z.string(), z.unknown());
const always = z.literal(true, 'only true is supported').default(true);

const rootSchema = z.object({
  architectures: z.array(z.string()).optional(),
  model_type: z.enum(['deepseek_vl', 'deepseek_vl_hybrid']),
  text_config: part,
  vision_config: part.default({}),
  high_res_vision_config: part.default({}),
  image_token_id: tokenId.default(100015),
  tie_word_embeddings: z.boolean().default(true),
});

// The defaults are those of transformers' SiglipVisionConfig …
const siglipSchema = z.object({
  hidden_size: count.default(768),
  intermediate_size: count.default(3072),
  num_hidden_layers: count.default(12),
  num_attention_heads: count.default(12),
  num_channels: z.literal(3).default(3),
  image_size: side.default(224),
  patch_size: side.default(16),
  hidden_act: activation.default('gelu_tanh'),
  layer_norm_eps: z.number().positive().default(1e-6),
});

// … and of its SamVisionConfig.
const samSchema = z.object({
  hidden_size: count.default(768),
  mlp_dim: count.nullish(),
  mlp_ratio: z.number().positive().default(4),
  num_hidden_layers: count.default(12),
  num_attention_heads: count.default(12),
  num_channels: z.literal(3).default(3),
  image_size: side.default(1024),
  patch_size: side.default(16),
  hidden_act: activation.default('gelu'),
  layer_norm_eps: z.number().positive().default(1e-6),
  qkv_bias: z.boolean().default(true),
  use_abs_pos: always,
  use_rel_pos: always,
  window_size: z.int().nonnegative().default(14),
  global_attn_indexes: z.array(z.int().nonnegative()).min(1).default([2, 5, 8, 11]),
  output_channels: count.default(256),
});

function readSam(value: unknown, file: string): SamConfig {
  const sam = parsePart(samSchema, value, file, 'high_res_vision_config.');
  return {
    depth: sam.num_hidden_layers,
    hiddenSize: sam.hidden_size,
    intermediateSize: sam.mlp_dim ?? Math.trunc(sam.hidden_size * sam.mlp_ratio),
    numHeads: sam.num_attention_heads,
    imageSize: sam.image_size,
    patchSize: sam.patch_size,
    activation: sam.hidden_act,
    normEps: sam.layer_norm_eps,
    qkvBias: sam.qkv_bias,
    windowSize: sam.window_size,
    globalLayers: sam.global_attn_indexes,
    outputChannels: sam.output_channels,
  };
}

function readTransformersConfig(raw: unknown, file: string, stopTokenIds: readonly number[]): DeepseekVLConfig {
  const root = parsePart(rootSchema, raw, file);
  const vision = parsePart(siglipSchema, root.vision_config, file, 'vision_config.');
  const hybrid = root.model_type === 'deepseek_vl_hybrid';
  return {
    layout: 'transformers',
    text: readText(root.text_config, {
      file,
      prefix: 'text_config.',
      architecture: hybrid ? architectures.hybrid : architectures.plain,
      modelType: root.model_type,
      tieWordEmbeddings: root.tie_word_embeddings,
      stopTokenIds,
    }),
    vision: {
      depth: vision.num_hidden_layers,
      hiddenSize: vision.hidden_size,
      intermediateSize: vision.intermediate_size,
      numHeads: vision.num_attention_heads,
      imageSize: vision.image_size,
      patchSize: vision.patch_size,
      activation: vision.hidden_act,
      normEps: vision.layer_norm_eps,
    },
    ...(hybrid && { highRes: readSam(root.high_res_vision_config, file) }),
    imageTokenId: root.image_token_id,
  };
}

function checkTower(file: string, tower: TowerConfig, name: string): void {
  const check = checker(file, `${name}: `);
  check(
    Number.isInteger(tower.hiddenSize / tower.numHeads),
    'heads',
    `expected a divisor of the hidden size ${tower.hiddenSize}, received ${tower.numHeads}`,
  );
  check(
    tower.imageSize % tower.patchSize === 0,
    'image_size',
    `expected a multiple of the patch size ${tower.patchSize}, received ${tower.imageSize}`,
  );
}

function checkSam(file: string, { globalLayers, depth }: SamConfig): void {
  checker(file, 'high-resolution tower: ')(
    globalLayers.every((layer) => layer < depth),
    'global_attn_indexes',
    `expected layers below ${depth}, received ${globalLayers.join(', ')}`,
  );
}

/**
 * Reads config.json, and the tokens from the files beside it, of a model directory in either layout.
 *
 * @throws Error `file: key: reason` for every missing or nonsensical field; for Janus, which names the same class
 */
export function loadConfig(modelDir: string): DeepseekVLConfig {
  const file = join(modelDir, 'config.json');
  const raw = readJsonObject(file);
  const stopTokenIds = stopTokens(modelDir);
  const original = raw['language_config'] !== undefined;
  const config = original
    ? readOriginalConfig(raw, modelDir, stopTokenIds)
    : readTransformersConfig(raw, file, stopTokenIds);
  const { text, vision, highRes, imageTokenId } = config;
  checkTower(file, vision, 'vision tower');
  const check = checker(file);
  if (highRes) {
    checkTower(file, highRes, 'high-resolution tower');
    checkSam(file, highRes);
    check(text.hiddenSize % 2 === 0, 'hidden_size', `expected an even number, received ${text.hiddenSize}`);
  }
  check(
    imageTokenId < text.vocabSize,
    'image_token_id',
    `expected an id below vocab_size ${text.vocabSize}, received ${imageTokenId}`,
  );
  return config;
}

/** Tokens that a picture fills. */
export function tokensPerPicture({ vision }: DeepseekVLConfig): number {
  return (vision.imageSize / vision.patchSize) ** 2;
}
