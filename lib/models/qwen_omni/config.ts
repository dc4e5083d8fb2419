import { z } from 'zod';
import { isObject } from '../../hub/files.js';
import type { Activation } from '../../native.js';
import { activation, checker, count, parsePart, tokenId } from '../config.js';
import { readDecoderConfig, type DecoderConfig, type DecoderKind } from '../decoder/config.js';

/** A Whisper-like audio encoder. */
export interface AudioConfig {
  mels: number;
  layers: number;
  hiddenSize: number;
  numHeads: number;
  intermediateSize: number;
  activation: Activation;
  /** Mel frames of a chunk: convolutions do not look past it. */
  chunkFrames: number;
  /** Width of its tokens: the text decoder's hidden size. */
  outHiddenSize: number;
}

/** What config.json says of every omni model's thinker. */
export interface OmniConfig<Vision, Audio extends AudioConfig> {
  text: DecoderConfig;
  vision: Vision;
  audio: Audio;
  imageTokenId: number;
  videoTokenId: number;
  audioTokenId: number;
  visionStartTokenId: number;
  audioStartTokenId: number;
  /** Ends a clip's sound; absent in some files. */
  audioEndTokenId?: number;
  positionsPerSecond: number;
  secondsPerChunk: number;
}

/** How a family's config.json is read. */
export interface OmniForm {
  /** Of the whole model and of the thinker alone: `model_type` and class. */
  whole: { modelType: string; architecture: string };
  thinker: { modelType: string; architecture: string };
  decoder: DecoderKind;
  /** What a text config that lacks it means. */
  textDefaults: Record<string, unknown>;
}

const thinkerSchema = z.looseObject({
  text_config: z.record(z.string(), z.unknown()),
  vision_config: z.record(z.string(), z.unknown()),
  audio_config: z.record(z.string(), z.unknown()),
  image_token_id: tokenId.optional(),
  image_token_index: tokenId.optional(),
  video_token_id: tokenId.optional(),
  video_token_index: tokenId.optional(),
  audio_token_id: tokenId.optional(),
  audio_token_index: tokenId.optional(),
  vision_start_token_id: tokenId,
  audio_start_token_id: tokenId,
  audio_end_token_id: tokenId.nullish(),
  position_id_per_seconds: z.number().positive().default(25),
  seconds_per_chunk: z.number().positive().default(2),
  tie_word_embeddings: z.boolean().nullish(),
});

export const audioSchema = z.object({
  num_mel_bins: count.max(128),
  encoder_layers: count,
  d_model: count,
  encoder_attention_heads: count,
  encoder_ffn_dim: count,
  activation_function: activation.default('gelu'),
  n_window: count,
  output_dim: count,
});

/**
 * Reads the fields that audio encoders share.
 *
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function readAudioConfig(value: unknown, file: string, prefix: string, text: DecoderConfig): AudioConfig {
  const audio = parsePart(audioSchema, value, file, prefix);
  const check = checker(file, prefix);
  check(audio.d_model % 2 === 0 && audio.d_model > 2, 'd_model', `expected an even number above 2, received ${audio.d_model}`);
  check(
    audio.d_model % audio.encoder_attention_heads === 0,
    'encoder_attention_heads',
    `expected a divisor of d_model ${audio.d_model}, received ${audio.encoder_attention_heads}`,
  );
  check(
    audio.output_dim === text.hiddenSize,
    'output_dim',
    `expected the text decoder's hidden_size ${text.hiddenSize}, received ${audio.output_dim}`,
  );
  return {
    mels: audio.num_mel_bins,
    layers: audio.encoder_layers,
    hiddenSize: audio.d_model,
    numHeads: audio.encoder_attention_heads,
    intermediateSize: audio.encoder_ffn_dim,
    activation: audio.activation_function,
    chunkFrames: 2 * audio.n_window,
    outHiddenSize: audio.output_dim,
  };
}

/** The thinker's part of config.json, and the key that it stands under, with a dot. */
function findThinker(raw: unknown, form: OmniForm, file: string): { value: unknown; prefix: string; modelType: string } {
  const types = [form.whole.modelType, form.thinker.modelType];
  const { model_type: modelType } = parsePart(z.looseObject({ model_type: z.enum(types) }), raw, file);
  if (modelType === form.thinker.modelType) return { value: raw, prefix: '', modelType };
  const value = isObject(raw) ? raw['thinker_config'] : undefined;
  return { value: parsePart(z.looseObject({}), value, file, 'thinker_config'), prefix: 'thinker_config.', modelType };
}

/**
 * Reads all of a parsed config.json but the towers' parts: of a whole model, of which only `thinker_config` counts, or
 * of a thinker alone.
 *
 * @param file name used in errors
 * @param stopTokenIds ids that end a turn or a text beside those in config.json; ids outside the vocabulary are dropped
 * @returns with `vision` and `audio` as they stand in the file, and the key that they stand under
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function readOmniConfig(
  raw: unknown,
  form: OmniForm,
  file: string,
  stopTokenIds: readonly number[],
): Omit<OmniConfig<unknown, AudioConfig>, 'audio'> & { audio: unknown; prefix: string } {
  const { value, prefix, modelType } = findThinker(raw, form, file);
  const thinker = parsePart(thinkerSchema, value, file, prefix);
  const { architecture } = modelType === form.whole.modelType ? form.whole : form.thinker;
  const text = readDecoderConfig({ ...form.textDefaults, ...thinker.text_config }, form.decoder, {
    file,
    prefix: `${prefix}text_config.`,
    architecture,
    modelType,
    tieWordEmbeddings: thinker.tie_word_embeddings === true,
    stopTokenIds,
  });
  const check = checker(file, prefix);
  const token = (kind: 'image' | 'video' | 'audio'): number => {
    const id = thinker[`${kind}_token_id`] ?? thinker[`${kind}_token_index`];
    check(id !== undefined, `${kind}_token_id`, 'expected a number, received nothing');
    return id!;
  };
  const ids = {
    imageTokenId: token('image'),
    videoTokenId: token('video'),
    audioTokenId: token('audio'),
    visionStartTokenId: thinker.vision_start_token_id,
    audioStartTokenId: thinker.audio_start_token_id,
    ...(thinker.audio_end_token_id != null && { audioEndTokenId: thinker.audio_end_token_id }),
  };
  for (const [key, id] of Object.entries(ids)) {
    const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    check(id < text.vocabSize, name, `expected an id below vocab_size ${text.vocabSize}, received ${id}`);
  }
  return {
    text,
    vision: thinker.vision_config,
    audio: thinker.audio_config,
    prefix,
    ...ids,
    positionsPerSecond: thinker.position_id_per_seconds,
    secondsPerChunk: thinker.seconds_per_chunk,
  };
}
