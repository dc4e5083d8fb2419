import type { Checkpoint } from '../../hub/safetensors.js';
import { loadWeights } from '../../hub/weights.js';
import { scope, type DType } from '../../tensor.js';
import {
  linearSlots,
  matrix,
  normSlots,
  Slot,
  stackedSlots,
  takeWeights,
  vector,
  weightSpec,
  type Loaded,
} from '../blueprint.js';
import {
  decoderForm,
  decoderWeightSpec,
  takeDecoderWeights,
  withOwnHead,
  type DecoderWeights,
} from '../decoder/weights.js';
import type { InternVLConfig, InternVisionConfig } from './config.js';
import { internlm2WeightSpec, renameInternLM2 } from './internlm2.js';
import type { VisionWeights } from './vision.js';

/** Names of transformers at run time, and those of the decoder in published files, become the canonical ones. */
const rename = [
  ['model.language_model.', 'model.'],
  ['model.vision_tower.', 'vision_tower.'],
  ['model.multi_modal_projector.', 'multi_modal_projector.'],
  ['language_model.', ''],
] as const;

const decoderPrefixes = ['model.language_model.', 'language_model.model.'];

/** Names of the tower and the projector. */
interface VisionNames {
  embeddings: { classToken: string; positions: string; patch: string };
  layer: (i: number) => string;
  /** Within a layer: one fused matrix, or three. */
  qkv: readonly string[];
  queryNorm: string;
  keyNorm: string;
  output: string;
  norm1: string;
  norm2: string;
  scale1: string;
  scale2: string;
  /** Norm, first and second linear layer. */
  projector: readonly [string, string, string];
}

const visionNames: Record<InternVLConfig['layout'], VisionNames> = {
  transformers: {
    embeddings: {
      classToken: 'vision_tower.embeddings.cls_token',
      positions: 'vision_tower.embeddings.position_embeddings',
      patch: 'vision_tower.embeddings.patch_embeddings.projection',
    },
    layer: (i) => `vision_tower.encoder.layer.${i}.`,
    qkv: ['attention.q_proj', 'attention.k_proj', 'attention.v_proj'],
    queryNorm: 'attention.q_norm.weight',
    keyNorm: 'attention.k_norm.weight',
    output: 'attention.projection_layer',
    norm1: 'layernorm_before',
    norm2: 'layernorm_after',
    scale1: 'lambda_1',
    scale2: 'lambda_2',
    projector: ['multi_modal_projector.layer_norm', 'multi_modal_projector.linear_1', 'multi_modal_projector.linear_2'],
  },
  original: {
    embeddings: {
      classToken: 'vision_model.embeddings.class_embedding',
      positions: 'vision_model.embeddings.position_embedding',
      patch: 'vision_model.embeddings.patch_embedding',
    },
    layer: (i) => `vision_model.encoder.layers.${i}.`,
    qkv: ['attn.qkv'],
    queryNorm: 'attn.q_norm.weight',
    keyNorm: 'attn.k_norm.weight',
    output: 'attn.proj',
    norm1: 'norm1',
    norm2: 'norm2',
    scale1: 'ls1',
    scale2: 'ls2',
    projector: ['mlp1.0', 'mlp1.1', 'mlp1.3'],
  },
};

function layerBlueprint(layer: string, vision: InternVisionConfig, names: VisionNames, dtype: DType) {
  const { hiddenSize: width, intermediateSize, qkvBias } = vision;
  const biased = vision.norm === 'layer';
  const rows = names.qkv.map(() => (3 * width) / names.qkv.length);
  return {
    norm1: normSlots(layer + names.norm1, width, biased),
    qkv: stackedSlots(names.qkv.map((name) => layer + name), rows, width, dtype, qkvBias),
    ...(vision.queryKeyNormEps !== undefined && {
      queryNorm: vector(layer + names.queryNorm, width),
      keyNorm: vector(layer + names.keyNorm, width),
    }),
    output: linearSlots(layer + names.output, width, width, dtype),
    attentionScale: vector(layer + names.scale1, width),
    norm2: normSlots(layer + names.norm2, width, biased),
    up: linearSlots(`${layer}mlp.fc1`, intermediateSize, width, dtype),
    down: linearSlots(`${layer}mlp.fc2`, width, intermediateSize, dtype),
    mlpScale: vector(layer + names.scale2, width),
  };
}

function visionBlueprint({ layout, vision, text, mergeSize, featureLayers }: InternVLConfig, dtype: DType) {
  const { hiddenSize: width, patchSize, imageSize } = vision;
  const names = visionNames[layout];
  const { classToken, positions, patch } = names.embeddings;
  const count = (imageSize / patchSize) ** 2 + 1;
  const merged = mergeSize ** 2 * width;
  const [projectorNorm, projectorIn, projectorOut] = names.projector;
  return {
    classToken: new Slot([classToken], [[1, 1, width]], 'float32', [1, width]),
    ...(vision.absolutePositions && {
      positions: new Slot([positions], [[1, count, width]], 'float32', [count, width]),
    }),
    patchEmbed: {
      weight: matrix(`${patch}.weight`, [width, 3, patchSize, patchSize], dtype),
      bias: vector(`${patch}.bias`, width),
    },
    layers: Array.from({ length: featureLayers }, (_, i) => layerBlueprint(names.layer(i), vision, names, dtype)),
    ...(vision.finalNorm && { finalNorm: normSlots('vision_tower.layernorm', width) }),
    projectorNorm: normSlots(projectorNorm, merged),
    projectorIn: linearSlots(projectorIn, text.hiddenSize, merged, dtype),
    projectorOut: linearSlots(projectorOut, text.hiddenSize, text.hiddenSize, dtype),
  };
}

/** Layers of the tower above the one whose output is taken, a mask token that is never used, and buffers. */
function unused({ layout, vision, featureLayers }: InternVLConfig): RegExp[] {
  const skipped = Array.from({ length: vision.depth - featureLayers }, (_, i) =>
    visionNames[layout].layer(featureLayers + i),
  );
  return [/rotary_emb\.inv_freq$/, /\.embeddings\.mask_token$/, ...skipped.map((prefix) => new RegExp(`^(model\\.)?${prefix}`))];
}

/**
 * Weights of a checkpoint in either layout: transformers' at run time (`model.language_model.`, `model.vision_tower.`)
 * or as it saves them (`language_model.model.`, `vision_tower.`), or OpenGVLab's (`language_model.`, `vision_model.`,
 * `mlp1.`). Matrices are `dtype`, vectors float32.
 *
 * @throws one error that lists missing, unexpected and mis-shaped weights by name
 */
export function loadInternVLWeights(
  checkpoint: Checkpoint,
  config: InternVLConfig,
  dtype: 'float32' | 'bfloat16',
): { decoder: DecoderWeights; vision: VisionWeights } {
  const { text, internlm2 } = config;
  const head = internlm2 ? 'output.weight' : 'lm_head.weight';
  const form = withOwnHead(decoderForm(text, checkpoint, decoderPrefixes), checkpoint, [head, `language_model.${head}`]);
  const blueprint = visionBlueprint(config, dtype);
  return scope(() => {
    const decoderSpec = internlm2 ? internlm2WeightSpec(text, form, dtype) : decoderWeightSpec(text, form, dtype);
    const spec = { ...decoderSpec, ...weightSpec(blueprint) };
    const loaded = loadWeights(checkpoint, spec, { rename, ignore: unused(config) });
    if (internlm2) renameInternLM2(loaded, text, form, dtype);
    const vision: Loaded<typeof blueprint> = takeWeights(blueprint, loaded);
    return { decoder: takeDecoderWeights(loaded, text, form), vision };
  });
}
