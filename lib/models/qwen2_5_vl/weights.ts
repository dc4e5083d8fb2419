import type { DType } from '../../tensor.js';
import { linearSlots, matrix, stackedSlots, vector, type Loaded } from '../blueprint.js';
import type { LayerWeights } from '../decoder/layer.js';
import type { Qwen2_5VLVisionConfig } from './config.js';

/** Whether a checkpoint holds q, k and v of the vision tower as one matrix or as three (Qwen2.5-Omni). */
export type AttentionLayout = 'fused' | 'separate';

function blockBlueprint(block: string, config: Qwen2_5VLVisionConfig, layout: AttentionLayout, dtype: DType) {
  const { hiddenSize: size, intermediateSize } = config;
  const separate = ['q', 'k', 'v'].map((part) => `${block}.attn.${part}`);
  return {
    norm1: vector(`${block}.norm1.weight`, size),
    qkv:
      layout === 'fused'
        ? linearSlots(`${block}.attn.qkv`, 3 * size, size, dtype)
        : stackedSlots(separate, [size, size, size], size, dtype),
    output: linearSlots(`${block}.attn.proj`, size, size, dtype),
    norm2: vector(`${block}.norm2.weight`, size),
    gateUp: stackedSlots(
      [`${block}.mlp.gate_proj`, `${block}.mlp.up_proj`],
      [intermediateSize, intermediateSize],
      size,
      dtype,
    ),
    down: linearSlots(`${block}.mlp.down_proj`, size, intermediateSize, dtype),
  };
}

/** Weights of the vision tower under `visual.`; E its hidden size, H the decoder's, m² patches merged into one token. */
export function visionBlueprint(config: Qwen2_5VLVisionConfig, dtype: DType, layout: AttentionLayout = 'fused') {
  const { hiddenSize, inChannels, temporalPatchSize, patchSize: side } = config;
  const merged = hiddenSize * config.spatialMergeSize ** 2;
  return {
    /** [E, channels · temporal patch · patch²] */
    patchEmbed: matrix('visual.patch_embed.proj.weight', [hiddenSize, inChannels, temporalPatchSize, side, side], dtype),
    blocks: Array.from({ length: config.depth }, (_, i) => blockBlueprint(`visual.blocks.${i}`, config, layout, dtype)),
    /** [E] */
    mergerNorm: vector('visual.merger.ln_q.weight', hiddenSize),
    /** [m²·E, m²·E] */
    mergerIn: linearSlots('visual.merger.mlp.0', merged, merged, dtype),
    /** [H, m²·E] */
    mergerOut: linearSlots('visual.merger.mlp.2', config.outHiddenSize, merged, dtype),
  };
}

export type VisionWeights = Loaded<ReturnType<typeof visionBlueprint>>;

/** A block is a layer like the decoder's, with biases. */
export function blockWeights({ norm1, qkv, output, norm2, gateUp, down }: VisionWeights['blocks'][number]): LayerWeights {
  return {
    inputNorm: norm1,
    qkv: qkv.weight,
    qkvBias: qkv.bias,
    output: output.weight,
    outputBias: output.bias,
    postAttentionNorm: norm2,
    mlp: {
      kind: 'dense',
      gateUp: gateUp.weight,
      gateUpBias: gateUp.bias,
      down: down.weight,
      downBias: down.bias,
    },
  };
}
