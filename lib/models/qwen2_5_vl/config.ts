import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../hub/files.js';
import type { Activation } from '../../native.js';
import { activation, checker, count, parsePart, stopTokens } from '../config.js';
import {
  checkTokenWidth,
  checkVisionHeads,
  readQwenVLConfig,
  type QwenVLConfig,
  type QwenVLForm,
} from '../qwen_vl/config.js';

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
export type Qwen2_5VLConfig = QwenVLConfig<Qwen2_5VLVisionConfig>;

const form: QwenVLForm = {
  modelType: 'qwen2_5_vl',
  architecture: 'Qwen2_5_VLForConditionalGeneration',
  decoder: { attentionBias: 'always', queryKeyNorm: false, mrope: { interleaved: false } },
  tiedByText: true,
};

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

/**
 * Reads the config of a vision tower.
 *
 * @param prefix key of the object that holds the fields, with a dot
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function readVisionConfig(value: unknown, file: string, prefix: string): Qwen2_5VLVisionConfig {
  const vision = parsePart(visionSchema, value, file, prefix);
  checkVisionHeads(file, prefix, 'hidden_size', vision.hidden_size, vision.num_heads);
  checker(file, prefix)(
    vision.window_size >= vision.patch_size * vision.spatial_merge_size,
    'window_size',
    `expected at least one merged patch of ${vision.patch_size * vision.spatial_merge_size} pixels, received ${vision.window_size}`,
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
    windowSize: vision.window_size,
    fullAttentionBlockIndexes: vision.fullatt_block_indexes,
    outHiddenSize: vision.out_hidden_size,
    tokensPerSecond: vision.tokens_per_second,
    hiddenAct: vision.hidden_act,
    ropeTheta: vision.rope_parameters?.rope_theta ?? 10000,
  };
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
  const config = readQwenVLConfig(raw, form, file, stopTokenIds);
  const vision = readVisionConfig(config.vision, file, 'vision_config.');
  checkTokenWidth(file, 'vision_config.', 'out_hidden_size', vision.outHiddenSize, config.text);
  return { ...config, vision };
}

/** Reads config.json, and the stop tokens from the files beside it, of a model directory. */
export function loadConfig(modelDir: string): Qwen2_5VLConfig {
  const file = join(modelDir, 'config.json');
  return parseConfig(readJson(file), file, stopTokens(modelDir));
}
