import type { LoadWeightsOptions } from '../../hub/weights.js';
import type { DeepseekVLConfig } from './config.js';

export interface SiglipNames {
  patchEmbed: string;
  positions: string;
  /** Dimensions of the positions in the file before patches and features. */
  positionDims: readonly number[];
  layer: (i: number) => string;
  /** Within a layer. */
  norms: readonly [string, string];
  /** One fused matrix, or three. */
  qkv: readonly string[];
  output: string;
  finalNorm: string;
}

export interface SamNames {
  patchEmbed: string;
  positions: string;
  layer: (i: number) => string;
  norms: readonly [string, string];
  /** Convolution, norm, convolution, norm. */
  neck: readonly [string, string, string, string];
  globalNeck: readonly [string, string, string, string];
  projection: readonly [string, string];
  alpha: string;
}

/** Names of what is not the decoder, what published names become first, and published names that are not read. */
export interface WeightNames extends Required<Pick<LoadWeightsOptions, 'rename' | 'ignore'>> {
  siglip: SiglipNames;
  sam: SamNames;
  aligner: { vision: string; highRes: string; output: string };
}

/** A buffer that older files hold. */
const inverseFrequencies = /rotary_emb\.inv_freq$/;

/** transformers': SigLIP's names are nested twice in files of before its version 5. */
const transformersNames: WeightNames = {
  rename: [
    ['model.language_model.', 'model.'],
    ['model.vision_model.vision_model.', 'vision_model.'],
    ['model.', ''],
  ],
  ignore: [inverseFrequencies, /^model\.vision_model\.(vision_model\.)?head\./],
  siglip: {
    patchEmbed: 'vision_model.embeddings.patch_embedding',
    positions: 'vision_model.embeddings.position_embedding.weight',
    positionDims: [],
    layer: (i) => `vision_model.encoder.layers.${i}.`,
    norms: ['layer_norm1', 'layer_norm2'],
    qkv: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
    output: 'self_attn.out_proj',
    finalNorm: 'vision_model.post_layernorm',
  },
  sam: {
    patchEmbed: 'high_res_vision_model.vision_encoder.patch_embed.projection',
    positions: 'high_res_vision_model.vision_encoder.pos_embed',
    layer: (i) => `high_res_vision_model.vision_encoder.layers.${i}.`,
    norms: ['layer_norm1', 'layer_norm2'],
    neck: neckNames('high_res_vision_model.vision_encoder.neck'),
    globalNeck: neckNames('high_res_vision_neck'),
    projection: ['high_res_vision_proj.conv1', 'high_res_vision_proj.conv2'],
    alpha: 'high_res_vision_alpha',
  },
  aligner: { vision: 'aligner.vision_proj', highRes: 'aligner.high_res_vision_proj', output: 'aligner.proj' },
};

function neckNames(neck: string): SamNames['neck'] {
  return [`${neck}.conv1`, `${neck}.layer_norm1`, `${neck}.conv2`, `${neck}.layer_norm2`];
}

/** DeepSeek's own: timm's names of SigLIP, Segment Anything's of SAM. */
function originalNames(hybrid: boolean): WeightNames {
  const siglip = hybrid ? 'vision_model.vision_tower_low.vision_tower' : 'vision_model.vision_tower';
  const sam = 'vision_model.vision_tower_high.vision_tower';
  const sequence = (neck: string): SamNames['neck'] => [`${neck}.0`, `${neck}.1`, `${neck}.2`, `${neck}.3`];
  return {
    rename: [['language_model.', '']],
    ignore: [inverseFrequencies, `${siglip}.attn_pool.`, /^vision_model\.(high|low)_layer_norm\./],
    siglip: {
      patchEmbed: `${siglip}.patch_embed.proj`,
      positions: `${siglip}.pos_embed`,
      positionDims: [1],
      layer: (i) => `${siglip}.blocks.${i}.`,
      norms: ['norm1', 'norm2'],
      qkv: ['attn.qkv'],
      output: 'attn.proj',
      finalNorm: `${siglip}.norm`,
    },
    sam: {
      patchEmbed: `${sam}.patch_embed.proj`,
      positions: `${sam}.pos_embed`,
      layer: (i) => `${sam}.blocks.${i}.`,
      norms: ['norm1', 'norm2'],
      neck: sequence(`${sam}.neck`),
      globalNeck: sequence(`${sam}.neck_hd`),
      projection: [`${sam}.downsamples.0`, `${sam}.downsamples.1`],
      alpha: `${sam}.hd_alpha_downsamples`,
    },
    aligner: {
      vision: hybrid ? 'aligner.low_up_proj' : 'aligner.layers.0',
      highRes: 'aligner.high_up_proj',
      output: hybrid ? 'aligner.layers.1' : 'aligner.layers.2',
    },
  };
}

export function weightNames({ layout, highRes }: DeepseekVLConfig): WeightNames {
  const hybrid = highRes !== undefined;
  if (layout === 'original') return originalNames(hybrid);
  if (hybrid) return transformersNames;
  return {
    ...transformersNames,
    aligner: { ...transformersNames.aligner, vision: 'aligner.linear1', output: 'aligner.linear2' },
  };
}
