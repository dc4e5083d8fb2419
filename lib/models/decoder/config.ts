import { z } from 'zod';
import type { Activation } from '../../native.js';
import { activation, checker, count, parsePart, tokenId, tokenIds } from '../config.js';
import { inverseFrequencies } from '../rotary.js';
import type { RotaryConfig, TargetInfo } from '../target.js';
import type { DecoderForm } from './weights.js';

/** A text decoder: what the modality-blind parts may know, and what its forward pass and weights need beside. */
export interface DecoderConfig extends TargetInfo {
  /** Of the gate of the MLP. */
  activation: Activation;
  /** Of the weights; `moe` is added when the checkpoint's layout is known. */
  form: DecoderForm;
  moe?: MoeConfig;
}

/** Sparse layers of a decoder. */
export interface MoeConfig {
  numExperts: number;
  expertsPerToken: number;
  /** Of an expert. */
  intermediateSize: number;
  /** Whether the chosen experts' weights are scaled to sum 1. */
  normTopkProb: boolean;
  /** Whether that layer has experts; the others are dense. */
  isSparse(layer: number): boolean;
}

/** What kinds of decoders differ in, beside the numbers of their configs. */
export interface DecoderKind {
  /** Biases of q, k and v: always, never, or with `attention_bias` (then of the output too). */
  attentionBias: 'always' | 'never' | 'config';
  queryKeyNorm: boolean;
  /** Biases of the MLP with `mlp_bias`. */
  mlpBias?: boolean;
  /** Sparse layers: whether the chosen experts' weights are scaled to sum 1, always or with `norm_topk_prob`. */
  experts?: { normTopkProb: 'always' | 'config' };
  /** Multimodal rotary embedding; `sections` where the config gives none. */
  mrope?: { interleaved: boolean; sections?: readonly number[] };
}

const qwen2: DecoderKind = { attentionBias: 'always', queryKeyNorm: false };
const qwen3: DecoderKind = { attentionBias: 'config', queryKeyNorm: true };

/** By `model_type` of a text config. */
export const decoderKinds = {
  llama: { attentionBias: 'config', queryKeyNorm: false, mlpBias: true },
  qwen2,
  qwen3,
  qwen3_moe: { ...qwen3, experts: { normTopkProb: 'config' } },
} satisfies Record<string, DecoderKind>;

const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  partial_rotary_factor: z.number().positive().max(1).optional(),
  mrope_section: z.array(count).length(3).optional(),
});

const textSchema = z.object({
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  intermediate_size: count,
  vocab_size: count,
  rms_norm_eps: z.number().positive().default(1e-6),
  max_position_embeddings: count,
  hidden_act: activation.default('silu'),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  use_sliding_window: z
    .literal(false, 'sliding-window attention is not supported: expected false, received true')
    .nullish(),
  rope_parameters: ropeSchema.nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_theta: z.number().positive().optional(),
  eos_token_id: tokenIds.nullish(),
  bos_token_id: tokenId.nullish(),
  pad_token_id: tokenId.nullish(),
});

const expertsSchema = z
  .object({
    num_experts: count.optional(),
    num_local_experts: count.optional(),
    num_experts_per_tok: count,
    moe_intermediate_size: count,
    norm_topk_prob: z.boolean().nullish(),
    decoder_sparse_step: count.default(1),
    mlp_only_layers: z.array(z.int().nonnegative()).nullish(),
  })
  .refine((value) => (value.num_experts ?? value.num_local_experts) !== undefined, {
    path: ['num_experts'],
    message: 'expected a number, received nothing',
  });

/** Where a decoder's config stands, and what the files around it say. */
export interface DecoderContext {
  /** For messages: the file, and the key of the object that holds the fields, with a dot. */
  file: string;
  prefix: string;
  architecture: string;
  /** Of the whole model. */
  modelType: string;
  tieWordEmbeddings: boolean;
  /** Ids that end a turn or a text beside those of the config; ids outside the vocabulary are dropped. */
  stopTokenIds?: readonly number[];
}

type TextFields = z.infer<typeof textSchema>;

/** The object that describes the rotary embedding, with the trained length where its type needs one. */
function completeRope(text: TextFields): z.infer<typeof ropeSchema> | undefined {
  const rope = text.rope_parameters ?? text.rope_scaling ?? undefined;
  const type = rope?.rope_type ?? rope?.type;
  if (type !== 'llama3' && type !== 'yarn') return rope;
  return { original_max_position_embeddings: text.max_position_embeddings, ...rope };
}

function readRotary(text: TextFields, headDim: number, { mrope }: DecoderKind, context: DecoderContext): RotaryConfig {
  const { file, prefix } = context;
  const check = checker(file, prefix);
  const rope = completeRope(text);
  const key = text.rope_parameters ? 'rope_parameters' : 'rope_scaling';
  const sections = mrope && (rope?.mrope_section ?? mrope.sections);
  if (mrope && !sections) {
    throw new Error(`${file}: ${prefix}${key}: expected an object with mrope_section, received none`);
  }
  const theta = rope?.rope_theta ?? text.rope_theta;
  if (theta === undefined) throw new Error(`${file}: ${prefix}rope_theta: expected a number, received nothing`);
  const rotary: RotaryConfig = {
    theta,
    headDim,
    partialRotaryFactor: rope?.partial_rotary_factor ?? 1,
    ...(rope && { scaling: rope }),
  };
  if (mrope && sections) {
    const type = rope?.rope_type ?? rope?.type ?? 'default';
    check(
      type === 'default' || type === 'mrope',
      `${key}.rope_type`,
      `expected default or mrope for multimodal positions, received ${type}`,
    );
    const sum = sections.reduce((total, n) => total + n, 0);
    check(
      sum === headDim / 2,
      `${key}.mrope_section`,
      `expected a sum of ${headDim / 2} (half the head size), received ${sum}`,
    );
    rotary.mropeSection = [...sections];
    rotary.mropeInterleaved = mrope.interleaved;
  }
  try {
    inverseFrequencies(rotary);
  } catch (error) {
    throw new Error(`${file}: ${prefix}${key}: ${(error as Error).message}`, { cause: error });
  }
  return rotary;
}

function readExperts(value: unknown, kind: NonNullable<DecoderKind['experts']>, context: DecoderContext): MoeConfig {
  const fields = parsePart(expertsSchema, value, context.file, context.prefix);
  const numExperts = (fields.num_experts ?? fields.num_local_experts)!;
  checker(context.file, context.prefix)(
    fields.num_experts_per_tok <= numExperts,
    'num_experts_per_tok',
    `expected at most the ${numExperts} experts, received ${fields.num_experts_per_tok}`,
  );
  const dense = new Set(fields.mlp_only_layers);
  return {
    numExperts,
    expertsPerToken: fields.num_experts_per_tok,
    intermediateSize: fields.moe_intermediate_size,
    normTopkProb: kind.normTopkProb === 'always' || fields.norm_topk_prob === true,
    isSparse: (layer) => !dense.has(layer) && (layer + 1) % fields.decoder_sparse_step === 0,
  };
}

/**
 * Reads the config of a text decoder with Hugging Face's field names.
 *
 * @param value the object that holds the fields
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function readDecoderConfig(value: unknown, kind: DecoderKind, context: DecoderContext): DecoderConfig {
  const { file, prefix } = context;
  const text = parsePart(textSchema, value, file, prefix);
  const check = checker(file, prefix);
  const heads = text.num_attention_heads;
  const kvHeads = text.num_key_value_heads ?? heads;
  const headDim = text.head_dim ?? text.hidden_size / heads;
  check(
    Number.isInteger(headDim / 2),
    'num_attention_heads',
    `expected heads of an even size out of hidden_size ${text.hidden_size}, received ${heads} heads`,
  );
  check(heads % kvHeads === 0, 'num_key_value_heads', `expected a divisor of ${heads}, received ${kvHeads}`);
  const bias = kind.attentionBias === 'always' || (kind.attentionBias === 'config' && text.attention_bias === true);
  const inVocabulary = (id: number): boolean => id < text.vocab_size;
  return {
    architecture: context.architecture,
    modelType: context.modelType,
    hiddenSize: text.hidden_size,
    numLayers: text.num_hidden_layers,
    numHeads: heads,
    numKeyValueHeads: kvHeads,
    headDim,
    intermediateSize: text.intermediate_size,
    vocabSize: text.vocab_size,
    rmsNormEps: text.rms_norm_eps,
    maxPositionEmbeddings: text.max_position_embeddings,
    rotary: readRotary(text, headDim, kind, context),
    eosTokenIds: [...new Set([...(context.stopTokenIds ?? []), ...(text.eos_token_id ?? [])])].filter(inVocabulary),
    ...(text.bos_token_id != null && inVocabulary(text.bos_token_id) && { bosTokenId: text.bos_token_id }),
    ...(text.pad_token_id != null && inVocabulary(text.pad_token_id) && { padTokenId: text.pad_token_id }),
    activation: text.hidden_act,
    form: {
      attentionBias: bias,
      outputBias: bias && kind.attentionBias === 'config',
      mlpBias: kind.mlpBias === true && text.mlp_bias === true,
      queryKeyNorm: kind.queryKeyNorm,
      tieWordEmbeddings: context.tieWordEmbeddings,
    },
    ...(kind.experts && { moe: readExperts(value, kind.experts, context) }),
  };
}
