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
import { decoderWeightSpec, takeDecoderWeights, withOwnHead, type DecoderWeights } from '../decoder/weights.js';
import type { DeepseekVLConfig, SamConfig, SiglipConfig } from './config.js';
import { weightNames, type SamNames, type SiglipNames, type WeightNames } from './weight-names.js';
import type { VisionWeights } from './vision.js';

function patchSlots(name: string, { hiddenSize, patchSize }: SiglipConfig | SamConfig, dtype: DType) {
  return {
    weight: matrix(`${name}.weight`, [hiddenSize, 3, patchSize, patchSize], dtype),
    bias: vector(`${name}.bias`, hiddenSize),
  };
}

function siglipBlueprint(config: SiglipConfig, names: SiglipNames, dtype: DType) {
  const { hiddenSize: width, intermediateSize, imageSize, patchSize, depth } = config;
  const patches = (imageSize / patchSize) ** 2;
  return {
    patchEmbed: patchSlots(names.patchEmbed, config, dtype),
    positions: new Slot([names.positions], [[...names.positionDims, patches, width]], 'float32', [patches, width]),
    layers: Array.from({ length: depth }, (_, i) => {
      const layer = names.layer(i);
      const rows = names.qkv.map(() => (3 * width) / names.qkv.length);
      return {
        norm1: normSlots(layer + names.norms[0], width),
        qkv: stackedSlots(
          names.qkv.map((name) => layer + name),
          rows,
          width,
          dtype,
        ),
        output: linearSlots(layer + names.output, width, width, dtype),
        norm2: normSlots(layer + names.norms[1], width),
        up: linearSlots(`${layer}mlp.fc1`, intermediateSize, width, dtype),
        down: linearSlots(`${layer}mlp.fc2`, width, intermediateSize, dtype),
      };
    }),
    finalNorm: normSlots(names.finalNorm, width),
  };
}

function samBlueprint(config: SamConfig, names: SamNames, dtype: DType) {
  const { hiddenSize: width, intermediateSize, numHeads, qkvBias, outputChannels: channels } = config;
  const side = config.imageSize / config.patchSize;
  const convolution = (name: string, outputs: number, inputs: number, size: number): Slot =>
    matrix(`${name}.weight`, [outputs, inputs, size, size], dtype);
  const neck = ([reduce, norm1, conv, norm2]: SamNames['neck']) => ({
    reduce: { weight: convolution(reduce, channels, width, 1) },
    norm1: normSlots(norm1, channels),
    convolution: convolution(conv, channels, channels, 3),
    norm2: normSlots(norm2, channels),
  });
  return {
    patchEmbed: patchSlots(names.patchEmbed, config, dtype),
    positions: new Slot([names.positions], [[1, side, side, width]], 'float32', [side ** 2, width]),
    layers: Array.from({ length: config.depth }, (_, i) => {
      const layer = names.layer(i);
      const whole = config.windowSize === 0 || config.globalLayers.includes(i);
      const table = (axis: string): Slot =>
        new Slot(
          [`${layer}attn.rel_pos_${axis}`],
          [[2 * (whole ? side : config.windowSize) - 1, width / numHeads]],
          'float32',
        );
      return {
        relative: { height: table('h'), width: table('w') },
        norm1: normSlots(layer + names.norms[0], width),
        qkv: linearSlots(`${layer}attn.qkv`, 3 * width, width, dtype, qkvBias),
        output: linearSlots(`${layer}attn.proj`, width, width, dtype),
        norm2: normSlots(layer + names.norms[1], width),
        up: linearSlots(`${layer}mlp.lin1`, intermediateSize, width, dtype),
        down: linearSlots(`${layer}mlp.lin2`, width, intermediateSize, dtype),
      };
    }),
    neck: neck(names.neck),
    globalNeck: neck(names.globalNeck),
    projection: [
      convolution(names.projection[0], 2 * channels, channels, 3),
      convolution(names.projection[1], 4 * channels, 2 * channels, 3),
    ] as [Slot, Slot],
    alpha: vector(names.alpha, 1),
  };
}

function blueprint({ text, vision, highRes }: DeepseekVLConfig, names: WeightNames, dtype: DType) {
  const { hiddenSize: width } = text;
  const half = highRes ? width / 2 : width;
  return {
    siglip: siglipBlueprint(vision, names.siglip, dtype),
    ...(highRes && { sam: samBlueprint(highRes, names.sam, dtype) }),
    aligner: {
      vision: linearSlots(names.aligner.vision, half, vision.hiddenSize, dtype),
      ...(highRes && { highRes: linearSlots(names.aligner.highRes, half, 4 * highRes.outputChannels, dtype) }),
      output: linearSlots(names.aligner.output, width, width, dtype),
    },
  };
}

/**
 * Weights of a checkpoint in either layout. Matrices are `dtype`, vectors and positions float32.
 *
 * @throws one error that lists missing, unexpected and mis-shaped weights by name
 */
export function loadDeepseekVLWeights(
  checkpoint: Checkpoint,
  config: DeepseekVLConfig,
  dtype: 'float32' | 'bfloat16',
): { decoder: DecoderWeights; vision: VisionWeights } {
  const { text } = config;
  const form = withOwnHead(text.form, checkpoint, ['lm_head.weight', 'language_model.lm_head.weight']);
  const names = weightNames(config);
  const slots = blueprint(config, names, dtype);
  return scope(() => {
    const spec = { ...decoderWeightSpec(text, form, dtype), ...weightSpec(slots) };
    const loaded = loadWeights(checkpoint, spec, names);
    const vision: Loaded<typeof slots> = takeWeights(slots, loaded);
    return { decoder: takeDecoderWeights(loaded, text, form), vision };
  });
}
