import type { WeightSpec } from '../../hub/weights.js';
import { dispose, ops, type DType, type Tensor } from '../../tensor.js';
import type { TargetInfo } from '../target.js';
import type { LayerWeights } from './layer.js';

/** What a family's decoder layers have beside the common weights. */
export interface DecoderForm {
  /** Biases of q, k and v. */
  attentionBias: boolean;
  /** Bias of the attention's output. */
  outputBias?: boolean;
  /** Biases of the MLP. */
  mlpBias?: boolean;
  /** RMS norms over every head of q and k. */
  queryKeyNorm: boolean;
  tieWordEmbeddings: boolean;
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

/** Takes a weight out of what was loaded: from here on its new owner disposes it. */
export function takeWeight(loaded: Map<string, Tensor>, name: string): Tensor {
  const weight = loaded.get(name);
  if (!weight) throw new Error(`weight ${name}: expected it in the model's weight spec`);
  loaded.delete(name);
  return weight;
}

/** Rows of several weights one after another, as one tensor. */
export function fuseWeights(loaded: Map<string, Tensor>, names: readonly string[]): Tensor {
  const parts = names.map((name) => takeWeight(loaded, name));
  const fused = ops.cat(parts, 0);
  dispose(parts);
  return fused;
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
    add(`${layer}mlp.gate_proj.weight`, intermediateSize, hiddenSize);
    add(`${layer}mlp.up_proj.weight`, intermediateSize, hiddenSize);
    add(`${layer}mlp.down_proj.weight`, hiddenSize, intermediateSize);
  }
  add('model.norm.weight', hiddenSize);
  if (!form.tieWordEmbeddings) add('lm_head.weight', vocabSize, hiddenSize);
  return spec;
}

/** The decoder's weights out of what {@link decoderWeightSpec} loaded: q, k, v and gate, up are fused. */
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
        postAttentionNorm: takeWeight(loaded, `${layer}post_attention_layernorm.weight`),
        gateUp: fuseWeights(loaded, [`${layer}mlp.gate_proj.weight`, `${layer}mlp.up_proj.weight`]),
        down: takeWeight(loaded, `${layer}mlp.down_proj.weight`),
      };
    }),
    finalNorm: takeWeight(loaded, 'model.norm.weight'),
    lmHead: form.tieWordEmbeddings ? embedTokens : takeWeight(loaded, 'lm_head.weight'),
  };
}
