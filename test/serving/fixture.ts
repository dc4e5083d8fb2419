import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eagle3Shapes, type Eagle3Config } from '../../lib/draft/eagle3.js';
import { DraftVocabulary } from '../../lib/draft/vocabulary.js';
import { openCheckpoint } from '../../lib/hub/safetensors.js';
import { writeSafetensors, type ArrayTensor } from '../../lib/hub/safetensors-writer.js';
import type { TargetInfo } from '../../lib/models/target.js';
import { resolveContract, type ServingOptions } from '../../lib/serving/contract.js';
import { writeDraft, type DraftContent, type WriteDraftOptions } from '../../lib/serving/write-draft.js';
import { ops, scope } from '../../lib/tensor.js';

export type Json = Record<string, unknown>;

/** Ids 3 (end of turn) and 5 (end of text) are in. */
export const draftIds = [3, 5, 7, 8, 11, 20, 33, 40, 41, 42, 50, 51, 52, 53, 60, 63];

const HIDDEN = 16;
const LAYERS = 8;
const VOCABULARY = 64;

const plainRotary = { theta: 10_000, headDim: 8, partialRotaryFactor: 1 };

export const info: TargetInfo = {
  architecture: 'Qwen2_5_VLForConditionalGeneration',
  modelType: 'qwen2_5_vl',
  hiddenSize: HIDDEN,
  numLayers: LAYERS,
  numHeads: 2,
  numKeyValueHeads: 1,
  headDim: 8,
  intermediateSize: 24,
  vocabSize: VOCABULARY,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 128,
  rotary: {
    ...plainRotary,
    theta: 1_000_000,
    mropeSection: [2, 1, 1],
    mropeInterleaved: false,
    scaling: { type: 'mrope', mrope_section: [2, 1, 1] },
  },
  eosTokenIds: [3, 5],
};

const textConfig: Json = {
  hidden_size: HIDDEN,
  intermediate_size: 24,
  num_hidden_layers: LAYERS,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  rms_norm_eps: 1e-6,
  hidden_act: 'silu',
  vocab_size: VOCABULARY,
  max_position_embeddings: 128,
  tie_word_embeddings: true,
  eos_token_id: 3,
};

const qwen2_5_vl: Json = {
  architectures: ['Qwen2_5_VLForConditionalGeneration'],
  model_type: 'qwen2_5_vl',
  ...textConfig,
  rope_theta: 1_000_000,
  rope_scaling: { type: 'mrope', mrope_section: [2, 1, 1] },
  image_token_id: 60,
  video_token_id: 61,
  vision_start_token_id: 58,
  vision_end_token_id: 59,
  vision_config: {
    depth: 2,
    hidden_size: 16,
    intermediate_size: 16,
    num_heads: 2,
    patch_size: 4,
    window_size: 16,
    fullatt_block_indexes: [1],
    tokens_per_second: 2,
    hidden_act: 'silu',
    out_hidden_size: HIDDEN,
    spatial_merge_size: 2,
    temporal_patch_size: 2,
  },
};

const qwen3_vl: Json = {
  architectures: ['Qwen3VLForConditionalGeneration'],
  model_type: 'qwen3_vl',
  text_config: {
    ...textConfig,
    head_dim: 8,
    rope_parameters: {
      rope_type: 'default',
      rope_theta: 5_000_000,
      mrope_section: [2, 1, 1],
      mrope_interleaved: true,
    },
  },
  vision_config: { deepstack_visual_indexes: [0, 1, 2] },
};

const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 };

const qwen3: Json = {
  architectures: ['Qwen3ForCausalLM'],
  model_type: 'qwen3',
  ...textConfig,
  rope_theta: 10_000,
  rope_scaling: yarn,
};

interface Setting {
  config: Json;
  info: Partial<TargetInfo>;
  serving: ServingOptions;
}

/** Drafts for targets and servers that differ in what the checks look at. */
export const settings = {
  sglang: { config: qwen2_5_vl, info: {}, serving: { engine: 'sglang' } },
  vllm: { config: qwen2_5_vl, info: {}, serving: { engine: 'vllm' } },
  custom: { config: qwen2_5_vl, info: {}, serving: { engine: 'sglang', auxLayerIds: [1, 4, 6] } },
  deepstack: {
    config: qwen3_vl,
    info: {
      architecture: 'Qwen3VLForConditionalGeneration',
      modelType: 'qwen3_vl',
      rotary: {
        ...info.rotary,
        theta: 5_000_000,
        mropeInterleaved: true,
        scaling: (qwen3_vl['text_config'] as Json)['rope_parameters'] as Json,
      },
    },
    serving: { engine: 'sglang' },
  },
  yarn: {
    config: qwen3,
    info: {
      architecture: 'Qwen3ForCausalLM',
      modelType: 'qwen3',
      rotary: { ...plainRotary, scaling: yarn },
    },
    serving: { engine: 'vllm' },
  },
} satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

function floats(shape: number[], seed: number): ArrayTensor {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + i));
  return { dtype: 'float32', shape, data };
}

export function writeJson(dir: string, file: string, value: unknown): void {
  writeFileSync(join(dir, file), `${JSON.stringify(value, null, 2)}\n`);
}

/** A target's directory: its JSON files, and the weights that a draft is compared with. */
export function writeTarget(dir: string, config: Json): void {
  mkdirSync(dir, { recursive: true });
  writeJson(dir, 'config.json', config);
  writeJson(dir, 'generation_config.json', { eos_token_id: [3, 5] });
  writeJson(dir, 'tokenizer_config.json', { eos_token: '<|im_end|>' });
  writeJson(dir, 'tokenizer.json', { added_tokens: [{ id: 3, content: '<|im_end|>' }] });
  writeSafetensors(join(dir, 'model.safetensors'), {
    'model.embed_tokens.weight': floats([VOCABULARY, HIDDEN], 1),
    'model.norm.weight': floats([HIDDEN], 2),
    'model.layers.0.self_attn.v_proj.weight': floats([8, HIDDEN], 3),
    [`model.layers.${LAYERS - 1}.self_attn.v_proj.weight`]: floats([8, HIDDEN], 4),
    [`model.layers.${LAYERS - 1}.input_layernorm.weight`]: floats([HIDDEN], 5),
    'visual.blocks.7.norm.weight': floats([HIDDEN], 6),
  });
}

/** A draft's shape and contract in a setting, without weights. */
export function describeDraft(name: SettingName): Omit<DraftContent, 'weights' | 'targetDir'> {
  const setting: Setting = settings[name];
  const target = { ...info, ...setting.info };
  const contract = resolveContract(setting.serving, target);
  const config: Eagle3Config = {
    hiddenSize: target.hiddenSize,
    intermediateSize: 32,
    numHeads: target.numHeads,
    numKeyValueHeads: target.numKeyValueHeads,
    headDim: target.headDim,
    rmsNormEps: target.rmsNormEps,
    vocabSize: target.vocabSize,
    draftVocabSize: draftIds.length,
    numAuxHiddenStates: contract.auxLayerIds.length,
    maxPositionEmbeddings: target.maxPositionEmbeddings,
    rotary: target.rotary,
    axes: contract.positions === 'mrope' ? 3 : 1,
  };
  const vocabulary = new DraftVocabulary(draftIds, target.vocabSize);
  return { config, contract, target, vocabulary, dataFingerprint: 'data', metrics: { acceptLength: 3.25 } };
}

/** Writes `<dir>/target` and `<dir>/draft`; returns what went into the draft, its weights as arrays. */
export function writePair(
  dir: string,
  name: SettingName,
  options?: WriteDraftOptions,
): { content: Omit<DraftContent, 'weights' | 'targetDir'>; weights: Record<string, Float32Array> } {
  const targetDir = join(dir, 'target');
  writeTarget(targetDir, settings[name].config);
  const content = describeDraft(name);
  return scope(() => {
    const weights = randomWeights(content.config);
    writeDraft({ ...content, weights, targetDir }, join(dir, 'draft'), options);
    const arrays = Object.entries(weights).map(([key, tensor]) => [key, tensor.toTypedArray()] as const);
    return { content, weights: Object.fromEntries(arrays) as Record<string, Float32Array> };
  });
}

export function randomWeights(config: Eagle3Config) {
  return Object.fromEntries(
    Object.entries(eagle3Shapes(config)).map(([key, shape], i) => [
      key,
      ops.randomNormal(shape, 0.02, BigInt(i)),
    ]),
  );
}

export function copyPair(from: string, to: string): { draft: string; target: string } {
  cpSync(from, to, { recursive: true });
  return { draft: join(to, 'draft'), target: join(to, 'target') };
}

/** Rewrites a JSON file. */
export function editJson(dir: string, file: string, edit: (value: Json) => void): void {
  const value = JSON.parse(readFileSync(join(dir, file), 'utf8')) as Json;
  edit(value);
  writeJson(dir, file, value);
}

/** Rewrites model.safetensors. */
export function editTensors(dir: string, edit: (tensors: Record<string, ArrayTensor>) => void): void {
  const tensors = scope(() => {
    const checkpoint = openCheckpoint(dir);
    const entries = checkpoint.names().map((name): [string, ArrayTensor] => {
      const tensor = checkpoint.load(name);
      return [name, { dtype: tensor.dtype, shape: tensor.shape, data: tensor.toTypedArray() }];
    });
    return Object.fromEntries(entries);
  });
  edit(tensors);
  writeSafetensors(join(dir, 'model.safetensors'), tensors);
}
