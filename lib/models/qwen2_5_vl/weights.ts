import type { Checkpoint } from '../../hub/safetensors.js';
import { loadWeights, type WeightSpec } from '../../hub/weights.js';
import { reshape, scope, type DType, type Tensor } from '../../tensor.js';
import type { LayerWeights } from '../decoder/layer.js';
import {
  decoderWeightSpec,
  fuseWeights,
  takeDecoderWeights,
  takeWeight,
  type DecoderWeights,
} from '../decoder/weights.js';
import { patchFeatures } from '../qwen_vl/visual-feature.js';
import { rename } from '../qwen_vl/weights.js';
import type { Qwen2_5VLConfig, Qwen2_5VLVisionConfig } from './config.js';
import type { VisionWeights } from './vision.js';

function visionWeightSpec(config: Qwen2_5VLVisionConfig, dtype: DType): Record<string, WeightSpec> {
  const { hiddenSize, intermediateSize, inChannels, temporalPatchSize, patchSize: side } = config;
  const merged = hiddenSize * config.spatialMergeSize ** 2;
  const spec: Record<string, WeightSpec> = {};
  const norm = (name: string): void => {
    spec[`visual.${name}.weight`] = { shape: [hiddenSize], dtype: 'float32' };
  };
  const linear = (name: string, outputs: number, inputs: number): void => {
    spec[`visual.${name}.weight`] = { shape: [outputs, inputs], dtype };
    spec[`visual.${name}.bias`] = { shape: [outputs], dtype: 'float32' };
  };
  spec['visual.patch_embed.proj.weight'] = { shape: [hiddenSize, inChannels, temporalPatchSize, side, side], dtype };
  for (let i = 0; i < config.depth; i++) {
    norm(`blocks.${i}.norm1`);
    norm(`blocks.${i}.norm2`);
    linear(`blocks.${i}.attn.qkv`, 3 * hiddenSize, hiddenSize);
    linear(`blocks.${i}.attn.proj`, hiddenSize, hiddenSize);
    linear(`blocks.${i}.mlp.gate_proj`, intermediateSize, hiddenSize);
    linear(`blocks.${i}.mlp.up_proj`, intermediateSize, hiddenSize);
    linear(`blocks.${i}.mlp.down_proj`, hiddenSize, intermediateSize);
  }
  norm('merger.ln_q');
  linear('merger.mlp.0', merged, merged);
  linear('merger.mlp.2', config.outHiddenSize, merged);
  return spec;
}

function takeBlock(loaded: Map<string, Tensor>, block: string): LayerWeights {
  const take = (name: string): Tensor => takeWeight(loaded, block + name);
  const fuse = (kind: string): Tensor =>
    fuseWeights(loaded, [`${block}mlp.gate_proj.${kind}`, `${block}mlp.up_proj.${kind}`]);
  return {
    inputNorm: take('norm1.weight'),
    qkv: take('attn.qkv.weight'),
    qkvBias: take('attn.qkv.bias'),
    output: take('attn.proj.weight'),
    outputBias: take('attn.proj.bias'),
    postAttentionNorm: take('norm2.weight'),
    mlp: {
      kind: 'dense',
      gateUp: fuse('weight'),
      gateUpBias: fuse('bias'),
      down: take('mlp.down_proj.weight'),
      downBias: take('mlp.down_proj.bias'),
    },
  };
}

function takeVisionWeights(loaded: Map<string, Tensor>, config: Qwen2_5VLVisionConfig): VisionWeights {
  const take = (name: string): Tensor => takeWeight(loaded, `visual.${name}`);
  return {
    patchEmbed: reshape(take('patch_embed.proj.weight'), [config.hiddenSize, patchFeatures(config)]),
    blocks: Array.from({ length: config.depth }, (_, i) => takeBlock(loaded, `visual.blocks.${i}.`)),
    mergerNorm: take('merger.ln_q.weight'),
    mergerIn: take('merger.mlp.0.weight'),
    mergerInBias: take('merger.mlp.0.bias'),
    mergerOut: take('merger.mlp.2.weight'),
    mergerOutBias: take('merger.mlp.2.bias'),
  };
}

/**
 * Weights of a checkpoint under its published names (`visual.`, `model.`) or those of transformers at run time
 * (`model.visual.`, `model.language_model.`). Matrices are `dtype`, norms and biases float32.
 *
 * @throws one error that lists missing, unexpected and mis-shaped weights by name
 */
export function loadQwen2_5VLWeights(
  checkpoint: Checkpoint,
  config: Qwen2_5VLConfig,
  dtype: 'float32' | 'bfloat16',
): { decoder: DecoderWeights; vision: VisionWeights } {
  const { text, vision } = config;
  const { form } = text;
  return scope(() => {
    const spec = { ...decoderWeightSpec(text, form, dtype), ...visionWeightSpec(vision, dtype) };
    const ignore = form.tieWordEmbeddings ? ['lm_head.'] : [];
    const loaded = loadWeights(checkpoint, spec, { rename, ignore });
    return { decoder: takeDecoderWeights(loaded, text, form), vision: takeVisionWeights(loaded, vision) };
  });
}
