import type { DType } from '../../tensor.js';
import { dispose, ops, tensor, type Tensor } from '../../tensor.js';
import { linearSlots, normSlots, Slot, stackedSlots, type Loaded } from '../blueprint.js';
import { EncoderLayer, type EncoderLayerWeights, type NormKind } from '../encoder/layer.js';
import type { AudioConfig } from './config.js';

/** Norms of audio encoders. */
export const audioNorm: NormKind = { norm: 'layer', normEps: 1e-5 };

/** Weights of a layer under `audio_tower.layers.`; keys have a bias in Qwen3-Omni only. */
export function audioLayerBlueprint(config: AudioConfig, index: number, keyBias: boolean, dtype: DType) {
  const { hiddenSize: size, intermediateSize } = config;
  const layer = `audio_tower.layers.${index}`;
  const attention = ['q', 'k', 'v'].map((part) => `${layer}.self_attn.${part}_proj`);
  const biased = attention.filter((_, part) => keyBias || part !== 1);
  return {
    norm1: normSlots(`${layer}.self_attn_layer_norm`, size),
    qkv: stackedSlots(attention, [size, size, size], size, dtype, false),
    qkvBias: new Slot(
      biased.map((name) => `${name}.bias`),
      biased.map(() => [size]),
      'float32',
    ),
    output: linearSlots(`${layer}.self_attn.out_proj`, size, size, dtype),
    norm2: normSlots(`${layer}.final_layer_norm`, size),
    up: linearSlots(`${layer}.fc1`, intermediateSize, size, dtype),
    down: linearSlots(`${layer}.fc2`, size, intermediateSize, dtype),
  };
}

export type AudioLayerWeights = Loaded<ReturnType<typeof audioLayerBlueprint>>;

/** Biases of q, k and v [3·H] out of those of q and v [2·H]. */
function withKeyBias(bias: Tensor, size: number): Tensor {
  if (bias.size === 3 * size) return bias;
  const [query, value] = [bias.narrow(0, 0, size), bias.narrow(0, size, size)];
  const zeros = ops.zeros([size], 'float32');
  const all = ops.cat([query, zeros, value], 0);
  dispose([query, value, zeros, bias]);
  return all;
}

/** Takes over the weights. */
export function audioLayer(config: AudioConfig, { qkv, qkvBias, ...others }: AudioLayerWeights): EncoderLayer {
  const { hiddenSize, numHeads, intermediateSize, activation } = config;
  const weights: EncoderLayerWeights = {
    ...others,
    qkv: { weight: qkv.weight, bias: withKeyBias(qkvBias, hiddenSize) },
  };
  return new EncoderLayer({ hiddenSize, numHeads, intermediateSize, activation, ...audioNorm }, weights);
}

/** Sinusoids of the places 0 to `length` of a chunk, float32 [length, H] as transformers computes them. */
export function sinusoids(length: number, hiddenSize: number): Tensor {
  const half = hiddenSize / 2;
  const step = Math.log(10_000) / (half - 1);
  const values = new Float32Array(length * hiddenSize);
  for (let j = 0; j < half; j++) {
    const frequency = Math.fround(Math.exp(Math.fround(-step * j)));
    for (let i = 0; i < length; i++) {
      const angle = Math.fround(i * frequency);
      values[i * hiddenSize + j] = Math.sin(angle);
      values[i * hiddenSize + half + j] = Math.cos(angle);
    }
  }
  return tensor(values, [length, hiddenSize]);
}

/** Ranges of attention: consecutive rows, `lengths` at a time, see one another. */
export function windows(lengths: readonly number[]): { begin: Tensor; end: Tensor } {
  const rows = lengths.reduce((sum, length) => sum + length, 0);
  const begin = new Int32Array(rows);
  const end = new Int32Array(rows);
  let at = 0;
  for (const length of lengths) {
    begin.fill(at, at, at + length);
    end.fill(at + length, at, at + length);
    at += length;
  }
  return { begin: tensor(begin, [rows]), end: tensor(end, [rows]) };
}

/** `total` in parts of `size`, the last one shorter. */
export function split(total: number, size: number): number[] {
  return Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size));
}
