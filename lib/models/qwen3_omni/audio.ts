import { dispose, keep, ops, reshape, scope, tensor, type DType, type Tensor } from '../../tensor.js';
import { linearSlots, normSlots, type Loaded } from '../blueprint.js';
import { attendWithin, linear, normalize, type EncoderLayer } from '../encoder/layer.js';
import type { AudioFeature } from '../qwen_omni/audio-feature.js';
import { audioLayer, audioLayerBlueprint, audioNorm, sinusoids, split, windows } from '../qwen_omni/audio-layers.js';
import type { AudioTower } from '../qwen_omni/target.js';
import { audioTokens, convolved } from './audio-tokens.js';
import type { Qwen3OmniAudioConfig } from './config.js';
import { Downsampling, downsamplingBlueprint } from './downsampling.js';

/** Weights of the encoder under `audio_tower.`. */
export function audioBlueprint(config: Qwen3OmniAudioConfig, dtype: DType) {
  const { hiddenSize, layers, outHiddenSize } = config;
  return {
    downsampling: downsamplingBlueprint(config, dtype),
    layers: Array.from({ length: layers }, (_, i) => audioLayerBlueprint(config, i, true, dtype)),
    norm: normSlots('audio_tower.ln_post', hiddenSize),
    in: linearSlots('audio_tower.proj1', hiddenSize, hiddenSize, dtype),
    out: linearSlots('audio_tower.proj2', outHiddenSize, hiddenSize, dtype),
  };
}

export type AudioWeights = Loaded<ReturnType<typeof audioBlueprint>>;

/**
 * Audio encoder of Qwen3-Omni: chunks of mel frames are convolved and given positions one by one, and attend to one
 * another within windows of several chunks.
 */
export class Qwen3OmniAudioTower implements AudioTower {
  readonly #downsampling: Downsampling;
  readonly #layers: EncoderLayer[];
  readonly #others: Pick<AudioWeights, 'norm' | 'in' | 'out'>;

  /** Takes over the weights. */
  constructor(
    private readonly config: Qwen3OmniAudioConfig,
    { downsampling, layers, ...others }: AudioWeights,
  ) {
    this.#downsampling = new Downsampling(config.mels, downsampling);
    this.#layers = layers.map((layer) => audioLayer(config, layer));
    this.#others = keep(others);
  }

  tokens(frames: number): number {
    return audioTokens(frames, this.config.chunkFrames);
  }

  forward(sounds: readonly AudioFeature[]): Tensor {
    return scope(() => {
      const embedded = sounds.map((sound) => this.#embed(sound));
      const x = ops.cat(embedded, 0);
      dispose(embedded);
      const { begin, end } = windows(sounds.flatMap((sound) => split(sound.tokens, this.#windowTokens(sound))));
      const attend = attendWithin(begin, end);
      for (const layer of this.#layers) layer.forward(x, attend);
      const { norm, in: into, out } = this.#others;
      const inner = linear(normalize(x, norm, audioNorm), into);
      return linear(ops.activation(inner, this.config.activation), out);
    });
  }

  /** Frames that transformers pads every chunk of the sound's record to: the convolutions see the padding. */
  #paddedFrames({ longestFrames }: AudioFeature): number {
    return Math.min(longestFrames, this.config.chunkFrames);
  }

  #windowTokens(sound: AudioFeature): number {
    return convolved(this.#paddedFrames(sound)) * this.config.windowChunks;
  }

  /** Rows of a sound [tokens, H]: its chunks, convolved, with the positions of each. */
  #embed(sound: AudioFeature): Tensor {
    return scope(() => {
      const { mels, chunkFrames, hiddenSize } = this.config;
      const padded = this.#paddedFrames(sound);
      const lengths = split(sound.frames, chunkFrames);
      const chunks = new Float32Array(lengths.length * padded * mels);
      for (let frame = 0; frame < sound.frames; frame++) {
        const row = Math.floor(frame / chunkFrames) * padded + (frame % chunkFrames);
        for (let mel = 0; mel < mels; mel++) chunks[row * mels + mel] = sound.mel[mel * sound.frames + frame]!;
      }
      const rows = this.#downsampling.forward(tensor(chunks, [lengths.length, padded, mels]));
      const perChunk = rows.shape[1]!;
      const places = lengths.flatMap((length, chunk) =>
        Array.from({ length: convolved(length) }, (_, i) => ({ row: chunk * perChunk + i, position: i })),
      );
      const pick = (table: Tensor, key: 'row' | 'position'): Tensor =>
        ops.gatherRows(table, tensor(Int32Array.from(places, (place) => place[key]), [places.length]));
      const x = pick(reshape(rows, [-1, hiddenSize]), 'row');
      ops.addInPlace(x, pick(sinusoids(perChunk, hiddenSize), 'position'));
      return x;
    });
  }

  dispose(): void {
    for (const part of [this.#downsampling, ...this.#layers]) part.dispose();
    dispose(this.#others);
  }
}
