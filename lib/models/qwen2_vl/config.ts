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

/** The vision tower. Sizes are in pixels for patches, in features elsewhere. */
export interface Qwen2VLVisionConfig {
  depth: number;
  /** `embed_dim` in the file. */
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  inChannels: number;
  patchSize: number;
  temporalPatchSize: number;
  /** Patches per side that are merged into one token. */
  spatialMergeSize: number;
  /** Width of the merger's output, the text decoder's hidden size: `hidden_size` in the file. */
  outHiddenSize: number;
  hiddenAct: Activation;
  /** Base of the two-dimensional rotary embedding. */
  ropeTheta: number;
}

/** config.json of a `Qwen2VLForConditionalGeneration`, whichever version of transformers wrote it. */
export type Qwen2VLConfig = QwenVLConfig<Qwen2VLVisionConfig>;

const form: QwenVLForm = {
  modelType: 'qwen2_vl',
  architecture: 'Qwen2VLForConditionalGeneration',
  decoder: {
    attentionBias: 'always',
    queryKeyNorm: false,
    mrope: { interleaved: false, sections: [16, 24, 24] },
  },
  tiedByText: true,
};

/** Published files leave most of it to the defaults of transformers. */
const visionSchema = z.object({
  depth: count.default(32),
  embed_dim: count.default(1280),
  hidden_size: count.default(3584),
  hidden_act: activation.default('quick_gelu'),
  mlp_ratio: z.number().positive().default(4),
  num_heads: count.default(16),
  // Published files call it in_chans, which transformers ignores in favour of its default.
  in_channels: z.literal(3).default(3),
  patch_size: count.default(14),
  temporal_patch_size: count.default(2),
  spatial_merge_size: count.default(2),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().optional() }).nullish(),
});

/**
 * Reads a parsed config.json: nested as transformers 5 writes it, or with the text decoder's keys at the top level as
 * published checkpoints have it.
 *
 * @param file name used in errors
 * @param stopTokenIds ids that end a turn or a text beside those in config.json; ids outside the vocabulary are dropped
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function parseConfig(raw: unknown, file: string, stopTokenIds: readonly number[] = []): Qwen2VLConfig {
  const config = readQwenVLConfig(raw, form, file, stopTokenIds);
  const prefix = 'vision_config.';
  const vision = parsePart(visionSchema, config.vision, file, prefix);
  checkVisionHeads(file, prefix, 'embed_dim', vision.embed_dim, vision.num_heads);
  checkTokenWidth(file, prefix, 'hidden_size', vision.hidden_size, config.text);
  const intermediateSize = vision.embed_dim * vision.mlp_ratio;
  checker(file, prefix)(
    Number.isInteger(intermediateSize),
    'mlp_ratio',
    `expected a whole multiple of embed_dim ${vision.embed_dim}, received ${intermediateSize}`,
  );
  return {
    ...config,
    vision: {
      depth: vision.depth,
      hiddenSize: vision.embed_dim,
      intermediateSize,
      numHeads: vision.num_heads,
      inChannels: vision.in_channels,
      patchSize: vision.patch_size,
      temporalPatchSize: vision.temporal_patch_size,
      spatialMergeSize: vision.spatial_merge_size,
      outHiddenSize: vision.hidden_size,
      hiddenAct: vision.hidden_act,
      ropeTheta: vision.rope_parameters?.rope_theta ?? 10000,
    },
  };
}

/** Reads config.json, and the stop tokens from the files beside it, of a model directory. */
export function loadConfig(modelDir: string): Qwen2VLConfig {
  const file = join(modelDir, 'config.json');
  return parseConfig(readJson(file), file, stopTokens(modelDir));
}
