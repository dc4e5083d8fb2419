import type { Eagle3Config } from '../draft/eagle3.js';
import { describe, isObject } from '../hub/files.js';
import type { TargetInfo } from '../models/target.js';
import { auxLayersJson, readAuxLayers } from './aux-layers.js';
import type { ServingContract } from './contract.js';
import { readRope, ropeJson, type Json } from './rope-json.js';

/** The class that SGLang loads; vLLM maps it to its own. */
export const DRAFT_ARCHITECTURE = 'LlamaForCausalLMEagle3';

export type WeightDType = 'bfloat16' | 'float32';

/** Number of aux layers that engines take where a config does not say. */
const DEFAULT_AUX_LAYERS = 3;

/** config.json of a draft, in the keys of serving engines; see docs/serving-contract.md. */
export function draftConfigJson(
  config: Eagle3Config,
  contract: ServingContract,
  target: TargetInfo,
  dtype: WeightDType,
): Json {
  const [eos] = target.eosTokenIds;
  return {
    architectures: [DRAFT_ARCHITECTURE],
    model_type: 'llama',
    attention_bias: false,
    mlp_bias: false,
    ...(target.bosTokenId !== undefined && { bos_token_id: target.bosTokenId }),
    draft_vocab_size: config.draftVocabSize,
    ...(eos !== undefined && { eos_token_id: target.eosTokenIds.length === 1 ? eos : target.eosTokenIds }),
    head_dim: config.headDim,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositionEmbeddings,
    num_attention_heads: config.numHeads,
    num_hidden_layers: 1,
    num_key_value_heads: config.numKeyValueHeads,
    ...(target.padTokenId !== undefined && { pad_token_id: target.padTokenId }),
    rms_norm_eps: config.rmsNormEps,
    ...ropeJson(config.rotary, contract),
    tie_word_embeddings: false,
    torch_dtype: dtype,
    use_cache: true,
    vocab_size: config.vocabSize,
    ...auxLayersJson(contract.auxLayerIds, target),
  };
}

/** Keys that change what a draft computes in ways that eyas does not; `true` in a config is refused. */
const UNSUPPORTED = [
  'attention_bias',
  'bias',
  'mlp_bias',
  'qkv_bias',
  'norm_before_residual',
  'norm_before_fc',
  'fc_norm',
  'use_aux_norm',
  'norm_output',
  'tie_word_embeddings',
] as const;

/** Value of a key at the top level, else in `eagle_config`. */
export function draftFlag(config: Json, key: string): unknown {
  const nested = config['eagle_config'];
  return config[key] ?? (isObject(nested) ? nested[key] : undefined);
}

/** A message for a key that does not hold what it should. */
function refuse(config: Json, source: string, key: string, expected: string): never {
  throw new Error(`${source}: ${key}: expected ${expected}, received ${describe(config[key])}`);
}

/** @throws Error `file: key: expected …, received …` for a draft that computes other things than `lib/draft` does */
function assertSupported(config: Json, source: string): void {
  if (config['speculators_model_type'] !== undefined) {
    throw new Error(`${source}: expected the keys of LlamaConfig, received the speculators format`);
  }
  for (const key of UNSUPPORTED) if (draftFlag(config, key) === true) refuse(config, source, key, 'false');
  if ((config['num_hidden_layers'] ?? 1) !== 1) refuse(config, source, 'num_hidden_layers', '1');
  if ((config['hidden_act'] ?? 'silu') !== 'silu') refuse(config, source, 'hidden_act', '"silu"');
  const width = config['target_hidden_size'] ?? config['hidden_size'];
  if (width !== config['hidden_size']) refuse(config, source, 'target_hidden_size', 'hidden_size');
}

/**
 * Sizes and rotary embedding that a config.json states, whatever else it asks for.
 *
 * @param source file, for messages
 * @throws Error `file: key: expected …, received …`
 */
export function readDraftConfig(config: Json, source: string): Eagle3Config {
  const count = (key: string, otherwise?: number): number => {
    const value = config[key] ?? otherwise;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
    return refuse(config, source, key, 'a whole number above 0');
  };
  const eps = config['rms_norm_eps'];
  const hiddenSize = count('hidden_size');
  const numHeads = count('num_attention_heads');
  const headDim = count('head_dim', hiddenSize / numHeads);
  const { topLevel, nested } = readAuxLayers(config);
  const ids = [topLevel, nested].find(Array.isArray);
  const rope = readRope(config);
  return {
    hiddenSize,
    intermediateSize: count('intermediate_size'),
    numHeads,
    numKeyValueHeads: count('num_key_value_heads', numHeads),
    headDim,
    rmsNormEps:
      typeof eps === 'number' && eps > 0 ? eps : refuse(config, source, 'rms_norm_eps', 'a number above 0'),
    vocabSize: count('vocab_size'),
    draftVocabSize: count('draft_vocab_size'),
    numAuxHiddenStates: count('num_aux_hidden_states', ids?.length ?? DEFAULT_AUX_LAYERS),
    maxPositionEmbeddings: count('max_position_embeddings'),
    rotary: {
      theta: rope.theta,
      headDim,
      partialRotaryFactor: rope.partialRotaryFactor,
      ...(rope.mropeSection && { mropeSection: rope.mropeSection, mropeInterleaved: rope.mropeInterleaved }),
      ...(rope.type !== 'default' && { scaling: { rope_type: rope.type, ...rope.scaling } }),
    },
    axes: rope.mropeSection ? 3 : 1,
  };
}

/**
 * The draft that a config.json describes.
 *
 * @param source file, for messages
 * @throws Error `file: key: expected …, received …` also where it asks for what `lib/draft` does not compute
 */
export function parseDraftConfig(config: Json, source: string): Eagle3Config {
  assertSupported(config, source);
  return readDraftConfig(config, source);
}
