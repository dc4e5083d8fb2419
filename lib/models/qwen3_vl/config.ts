import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../hub/files.js';
import type { Activation } from '../../native.js';
import { activation, checker, count, parsePart, stopTokens } from '../config.js';
import type { DecoderKind } from '../decoder/config.js';
import { checkTokenWidth, checkVisionHeads, readQwenVLConfig, type QwenVLConfig, type QwenVLForm } from '../qwen_vl/config.js';

/** The vision tower. Sizes are in pixels for patches, in features elsewhere. */
export interface Qwen3VLVisionConfig {
  depth: number;
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  inChannels: number;
  patchSize: number;
  temporalPatchSize: number;
  /** Patches per side that are merged into one token. */
  spatialMergeSize: number;
  /** Width of the mergers' output: the text decoder's hidden size. */
  outHiddenSize: number;
  /** Learned positions: a square number. */
  numPositionEmbeddings: number;
  /** Blocks whose output the decoder's first layers add, one after another. */
  deepstackVisualIndexes: number[];
  hiddenAct: Activation;
  /** Base of the two-dimensional rotary embedding. */
  ropeTheta: number;
}

/** config.json of a `Qwen3VLForConditionalGeneration` or `Qwen3VLMoeForConditionalGeneration`. */
export type Qwen3VLConfig = QwenVLConfig<Qwen3VLVisionConfig>;

/** Qwen3-VL's text decoder is Qwen3 with interleaved multimodal positions. */
const dense: DecoderKind = {
  attentionBias: 'config',
  queryKeyNorm: true,
  mrope: { interleaved: true, sections: [24, 20, 20] },
};

/** In order of their classes. */
const forms: readonly QwenVLForm[] = [
  {
    modelType: 'qwen3_vl',
    architecture: 'Qwen3VLForConditionalGeneration',
    decoder: dense,
    tiedByText: false,
  },
  {
    modelType: 'qwen3_vl_moe',
    architecture: 'Qwen3VLMoeForConditionalGeneration',
    decoder: { ...dense, experts: { normTopkProb: 'always' } },
    tiedByText: false,
  },
];

/** Classes that config.json may name. */
export const architectures = forms.map(({ architecture }) => architecture);

const visionSchema = z.object({
  depth: count,
  hidden_size: count,
  intermediate_size: count,
  num_heads: count,
  in_channels: z.literal(3).default(3),
  patch_size: count.default(16),
  temporal_patch_size: count.default(2),
  spatial_merge_size: count.default(2),
  out_hidden_size: count,
  num_position_embeddings: count.default(2304),
  deepstack_visual_indexes: z.array(z.int().nonnegative()),
  hidden_act: activation.default('gelu_tanh'),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().optional() }).nullish(),
});

/**
 * Reads the config of a vision tower.
 *
 * @param prefix key of the object that holds the fields, with a dot
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function readVisionConfig(value: unknown, file: string, prefix: string): Qwen3VLVisionConfig {
  const vision = parsePart(visionSchema, value, file, prefix);
  const check = checker(file, prefix);
  checkVisionHeads(file, prefix, 'hidden_size', vision.hidden_size, vision.num_heads);
  check(
    Number.isInteger(Math.sqrt(vision.num_position_embeddings)),
    'num_position_embeddings',
    `expected a square number, received ${vision.num_position_embeddings}`,
  );
  const indexes = vision.deepstack_visual_indexes;
  check(
    new Set(indexes).size === indexes.length && indexes.every((index) => index < vision.depth),
    'deepstack_visual_indexes',
    `expected different integers below depth ${vision.depth}, received [${indexes.join(', ')}]`,
  );
  return {
    depth: vision.depth,
    hiddenSize: vision.hidden_size,
    intermediateSize: vision.intermediate_size,
    numHeads: vision.num_heads,
    inChannels: vision.in_channels,
    patchSize: vision.patch_size,
    temporalPatchSize: vision.temporal_patch_size,
    spatialMergeSize: vision.spatial_merge_size,
    outHiddenSize: vision.out_hidden_size,
    numPositionEmbeddings: vision.num_position_embeddings,
    deepstackVisualIndexes: indexes,
    hiddenAct: vision.hidden_act,
    ropeTheta: vision.rope_parameters?.rope_theta ?? 10000,
  };
}

const modelTypeSchema = z.looseObject({
  model_type: z.enum(forms.map(({ modelType }) => modelType)),
});

/**
 * Reads a parsed config.json.
 *
 * @param file name used in errors
 * @param stopTokenIds ids that end a turn or a text beside those in config.json; ids outside the vocabulary are dropped
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function parseConfig(raw: unknown, file: string, stopTokenIds: readonly number[] = []): Qwen3VLConfig {
  const { model_type: modelType } = parsePart(modelTypeSchema, raw, file);
  const form = forms.find((candidate) => candidate.modelType === modelType)!;
  const config = readQwenVLConfig(raw, form, file, stopTokenIds);
  const vision = readVisionConfig(config.vision, file, 'vision_config.');
  checkTokenWidth(file, 'vision_config.', 'out_hidden_size', vision.outHiddenSize, config.text);
  return { ...config, vision };
}

/** Reads config.json, and the stop tokens from the files beside it, of a model directory. */
export function loadConfig(modelDir: string): Qwen3VLConfig {
  const file = join(modelDir, 'config.json');
  return parseConfig(readJson(file), file, stopTokens(modelDir));
}
