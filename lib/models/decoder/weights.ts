import type { Checkpoint } from '../../hub/safetensors.js';
import type { WeightSpec } from '../../hub/weights.js';
import type { DType, Tensor } from '../../tensor.js';
import type { TargetInfo } from '../target.js';
import type { DecoderConfig } from './config.js';
import { detectExpertLayout, expertWeightSpec, takeExpertWeights, type MoeForm } from './expert-weights.js';
import type { LayerWeights } from './layer.js';
import type { DenseMlpWeights } from './mlp.js';
import { fuseWeights, takeWeight } from './take.js';

export { fuseWeights, takeWeight } from './take.js';

/** What a family's decoder layers have beside the common weights. */
export interface DecoderForm {
  /** Biases of q, k and v. */
  attentionBias: boolean;
  /** Bias of the attention's output. */
  outputBias?: boolean;
  /** Biases of dense MLPs. */
  mlpBias?: boolean;
  /** RMS norms over every head of q and k. */
  queryKeyNorm: boolean;
  tieWordEmbeddings: boolean;
  /** Layers with experts in the place of an MLP; the others are dense. */
  moe?: MoeForm;
}

/** Weights of a text decoder. */
export interface DecoderWeights {
  /** [V, H] */
  embedTokens: Tensor;
  layers: LayerWeights[];
  /** [H] */
  finalNorm: Tensor;
  /** [V, H]; the same tensor as embedTokens where they are tied. */
  lmHead: Tensor;
}

/**
 * The form of a decoder as a checkpoint holds it.
 *
 * @param prefixes of the decoder's published names
 */
export function decoderForm(config: DecoderConfig, checkpoint: Checkpoint, prefixes: readonly string[]): DecoderForm {
  const { form, moe, hiddenSize } = config;
  if (!moe) return form;
  return { ...form, moe: { ...moe, layout: detectExpertLayout(checkpoint, hiddenSize, moe, prefixes) } };
}

/**
 * A head that the checkpoint holds counts, whatever the config says: some classes of transformers declare it tied by
 * default.
 *
 * @param heads names that a head of its own may have
 */
export function withOwnHead(form: DecoderForm, checkpoint: Checkpoint, heads: readonly string[]): DecoderForm {
  const holds = heads.some((name) => checkpoint.has(name));
  return { ...form, tieWordEmbeddings: form.tieWordEmbeddings && !holds };
}

const qkv = (layer: string, kind: string): string[] => ['q', 'k', 'v'].map((x) => `${layer}self_attn.${x}_proj.${kind}`);

/** Names and shapes as Hugging Face decoders have them, under `model.`; vectors are float32, matrices `dtype`. */
export function decoderWeightSpec(info: TargetInfo, form: DecoderForm, dtype: DType): Record<string, WeightSpec> {
  const { hiddenSize, intermediateSize, headDim, vocabSize } = info;
  const queries = info.numHeads * headDim;
  const keys = info.numKeyValueHeads * headDim;
  const spec: Record<string, WeightSpec> = {};
  const add = (name: string, ...shape: number[]): void => {
    spec[name] = { shape, dtype: shape.length === 1 ? 'float32' : dtype };
  };
  add('model.embed_tokens.weight', vocabSize, hiddenSize);
  for (let i = 0; i < info.numLayers; i++) {
    const layer = `model.layers.${i}.`;
    add(`${layer}input_layernorm.weight`, hiddenSize);
    add(`${layer}post_attention_layernorm.weight`, hiddenSize);
    for (const [name, rows] of [['q', queries], ['k', keys], ['v', keys]] as const) {
      add(`${layer}self_attn.${name}_proj.weight`, rows, hiddenSize);
      if (form.attentionBias) add(`${layer}self_attn.${name}_proj.bias`, rows);
    }
    if (form.queryKeyNorm) {
      add(`${layer}self_attn.q_norm.weight`, headDim);
      add(`${layer}self_attn.k_norm.weight`, headDim);
    }
    add(`${layer}self_attn.o_proj.weight`, hiddenSize, queries);
    if (form.outputBias) add(`${layer}self_attn.o_proj.bias`, hiddenSize);
    if (form.moe?.isSparse(i)) {
      Object.assign(spec, expertWeightSpec(layer, hiddenSize, form.moe, dtype));
      continue;
    }
    for (const [name, outputs, inputs] of [
      ['gate', intermediateSize, hiddenSize],
      ['up', intermediateSize, hiddenSize],
      ['down', hiddenSize, intermediateSize],
    ] as const) {
      add(`${layer}mlp.${name}_proj.weight`, outputs, inputs);
      if (form.mlpBias) add(`${layer}mlp.${name}_proj.bias`, outputs);
    }
  }
  add('model.norm.weight', hiddenSize);
  if (!form.tieWordEmbeddings) add('lm_head.weight', vocabSize, hiddenSize);
  return spec;
}

function takeDenseWeights(loaded: Map<string, Tensor>, layer: string, form: DecoderForm): DenseMlpWeights {
  const fuse = (kind: string): Tensor =>
    fuseWeights(loaded, [`${layer}mlp.gate_proj.${kind}`, `${layer}mlp.up_proj.${kind}`]);
  return {
    kind: 'dense',
    gateUp: fuse('weight'),
    down: takeWeight(loaded, `${layer}mlp.down_proj.weight`),
    ...(form.mlpBias && {
      gateUpBias: fuse('bias'),
      downBias: takeWeight(loaded, `${layer}mlp.down_proj.bias`),
    }),
  };
}

/** The decoder's weights out of what {@link decoderWeightSpec} loaded: q, k, v are fused, and so are gate and up. */
export function takeDecoderWeights(loaded: Map<string, Tensor>, info: TargetInfo, form: DecoderForm): DecoderWeights {
  const embedTokens = takeWeight(loaded, 'model.embed_tokens.weight');
  return {
    embedTokens,
    layers: Array.from({ length: info.numLayers }, (_, i) => {
      const layer = `model.layers.${i}.`;
      return {
        inputNorm: takeWeight(loaded, `${layer}input_layernorm.weight`),
        qkv: fuseWeights(loaded, qkv(layer, 'weight')),
        ...(form.attentionBias && { qkvBias: fuseWeights(loaded, qkv(layer, 'bias')) }),
        ...(form.queryKeyNorm && {
          queryNorm: takeWeight(loaded, `${layer}self_attn.q_norm.weight`),
          keyNorm: takeWeight(loaded, `${layer}self_attn.k_norm.weight`),
        }),
        output: takeWeight(loaded, `${layer}self_attn.o_proj.weight`),
        ...(form.outputBias && { outputBias: takeWeight(loaded, `${layer}self_attn.o_proj.bias`) }),
        postAttentionNorm: takeWeight(loaded, `${layer}post_attention_layernorm.weight`),
        mlp: form.moe?.isSparse(i)
          ? takeExpertWeights(loaded, layer, info.hiddenSize, form.moe)
          : takeDenseWeights(loaded, layer, form),
      };
    }),
    finalNorm: takeWeight(loaded, 'model.norm.weight'),
    lmHead: form.tieWordEmbeddings ? embedTokens : takeWeight(loaded, 'lm_head.weight'),
  };
}
