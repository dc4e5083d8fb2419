import { clone, dispose, keep, ops, reshape, scope, tensor, transpose, type DType, type Tensor } from '../../tensor.js';
import { linearSlots, normSlots, Slot, type Loaded } from '../blueprint.js';
import { attendWithin, linear, normalize, type EncoderLayer, type LinearWeights } from '../encoder/layer.js';
import type { AudioFeature } from '../qwen_omni/audio-feature.js';
import { audioLayer, audioLayerBlueprint, audioNorm, sinusoids, split, windows } from '../qwen_omni/audio-layers.js';
import type { AudioConfig } from '../qwen_omni/config.js';
import type { AudioTower } from '../qwen_omni/target.js';
import { audioTokens, convolved } from './audio-tokens.js';

const kernel = 3;

/** Weights of the encoder under `audio_tower.`; those of its marks of a sound's ends are not used. */
export function audioBlueprint(config: AudioConfig, dtype: DType) {
  const { hiddenSize, mels, layers, outHiddenSize } = config;
  const convolution = (name: string, inputs: number): { weight: Slot; bias: Slot } => ({
    weight: new Slot([`audio_tower.${name}.weight`], [[hiddenSize, inputs, kernel]], dtype),
    bias: new Slot([`audio_tower.${name}.bias`], [[hiddenSize]], 'float32'),
  });
  return {
    convolution1: convolution('conv1', mels),
    convolution2: convolution('conv2', hiddenSize),
    layers: Array.from({ length: layers }, (_, i) => audioLayerBlueprint(config, i, false, dtype)),
    norm: normSlots('audio_tower.ln_post', hiddenSize),
    out: linearSlots('audio_tower.proj', outHiddenSize, hiddenSize, dtype),
  };
}

export type AudioWeights = Loaded<ReturnType<typeof audioBlueprint>>;

/** [out, inputs, kernel] as [out, kernel · inputs]. */
function byStep({ weight, bias }: AudioWeights['convolution1']): LinearWeights {
  const rows = weight.shape[0]!;
  const turned = scope(() => reshape(clone(transpose(weight, 1, 2)), [rows, -1]));
  dispose(weight);
  return { weight: turned, bias };
}

/**
 * Rows of x that the kernel covers at every step, or every second one, of every chunk: [steps · kernel], `outside` where
 * it covers none.
 */
function kernelRows(chunks: readonly number[], stride: number, outside: number): Int32Array {
  const rows: number[] = [];
  let start = 0;
  for (const length of chunks) {
    for (let step = 0; step < length; step += stride) {
      for (let i = -1; i <= 1; i++) {
        const at = step + i;
        rows.push(at >= 0 && at < length ? start + at : outside);
      }
    }
    start += length;
  }
  return Int32Array.from(rows);
}

/** GELU of a convolution of chunks [Σ length, C] that does not look from one into another. */
function convolve(x: Tensor, chunks: readonly number[], stride: number, weights: LinearWeights): Tensor {
  return scope(() => {
    const channels = x.shape[1]!;
    const padded = ops.cat([x, ops.zeros([1, channels], 'float32')], 0);
    const rows = kernelRows(chunks, stride, x.shape[0]!);
    const patches = reshape(ops.gatherRows(padded, tensor(rows, [rows.length])), [-1, kernel * channels]);
    return ops.activation(linear(patches, weights), 'gelu');
  });
}

/**
 * Audio encoder of Qwen2.5-Omni: chunks of mel frames are convolved, given positions and encoded one by one; pairs of
 * rows of a sound become tokens.
 */
export class Qwen2_5OmniAudioTower implements AudioTower {
  readonly #layers: EncoderLayer[];
  readonly #convolution1: LinearWeights;
  readonly #convolution2: LinearWeights;
  readonly #others: Pick<AudioWeights, 'norm' | 'out'>;

  /** Takes over the weights. */
  constructor(
    private readonly config: AudioConfig,
    { convolution1, convolution2, layers, ...others }: AudioWeights,
  ) {
    this.#convolution1 = keep(byStep(convolution1));
    this.#convolution2 = keep(byStep(convolution2));
    this.#layers = layers.map((layer) => audioLayer(config, layer));
    this.#others = keep(others);
  }

  tokens(frames: number): number {
    return audioTokens(frames);
  }

  forward(sounds: readonly AudioFeature[]): Tensor {
    return scope(() => {
      const { mels, chunkFrames, hiddenSize } = this.config;
      const mel = sounds.map((sound) => clone(transpose(tensor(sound.mel, [mels, sound.frames]), 0, 1)));
      const chunks = sounds.flatMap(({ frames }) => split(frames, chunkFrames));
      const narrow = convolve(ops.cat(mel, 0), chunks, 1, this.#convolution1);
      const x = convolve(narrow, chunks, 2, this.#convolution2);
      const lengths = chunks.map(convolved);
      const places = lengths.flatMap((length) => Array.from({ length }, (_, i) => i));
      const table = sinusoids(Math.max(...lengths), hiddenSize);
      ops.addInPlace(x, ops.gatherRows(table, tensor(Int32Array.from(places), [places.length])));
      const { begin, end } = windows(lengths);
      const attend = attendWithin(begin, end);
      for (const layer of this.#layers) layer.forward(x, attend);
      return linear(normalize(this.#pool(x, sounds), this.#others.norm, audioNorm), this.#others.out);
    });
  }

  /** Means of pairs of rows of each sound [tokens, H]. */
  #pool(x: Tensor, sounds: readonly AudioFeature[]): Tensor {
    const firsts: number[] = [];
    let start = 0;
    for (const { frames, tokens } of sounds) {
      for (let i = 0; i < tokens; i++) firsts.push(start + 2 * i);
      start += convolved(frames);
    }
    const rows = (offset: number): Tensor =>
      ops.gatherRows(x, tensor(Int32Array.from(firsts, (row) => row + offset), [firsts.length]));
    const pooled = rows(0);
    ops.addInPlace(pooled, rows(1));
    ops.scaleInPlace(pooled, 0.5);
    return pooled;
  }

  dispose(): void {
    for (const layer of this.#layers) layer.dispose();
    dispose([this.#convolution1, this.#convolution2, this.#others]);
  }
}
