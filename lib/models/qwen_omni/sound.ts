import { z } from 'zod';
import { native } from '../../native.js';
import { count } from '../config.js';
import { needSection, parseSection } from '../processor-files.js';
import type { AudioFeature } from './audio-feature.js';

/** How sound becomes log-mel features. */
export interface SoundSettings {
  mels: number;
  /** Samples that transformers cuts and pads every sound to, where the family does so. */
  maxSamples: number;
}

const only = <T extends number>(value: T) => z.literal(value, `only ${value} is supported`).default(value);

const schema = z.object({
  feature_size: count.max(128).default(128),
  sampling_rate: only(16_000),
  hop_length: only(160),
  n_fft: only(400),
  padding_value: only(0),
  dither: only(0),
  chunk_length: count.default(30),
});

/**
 * Reads the feature extractor of a model directory: processor_config.json (transformers 5), then
 * preprocessor_config.json.
 *
 * @param mels of the audio encoder
 * @throws Error `file: key: reason` where a field is not supported or at odds with the audio encoder
 */
export function loadSoundSettings(modelDir: string, mels: number): SoundSettings {
  const section = needSection(modelDir, 'feature_extractor', ['preprocessor_config.json']);
  const { file, prefix } = section;
  const fields = parseSection(schema, section);
  if (fields.feature_size !== mels) {
    throw new Error(
      `${file}: ${prefix}feature_size: expected ${mels} as config.json's num_mel_bins, received ${fields.feature_size}`,
    );
  }
  return { mels, maxSamples: fields.chunk_length * fields.sampling_rate };
}

/** What a family's processor makes of sound, and its audio encoder of frames. */
export interface SoundForm {
  /** Whether sounds are cut and padded to the extractor's `chunk_length`, or padded to the longest of the record. */
  padding: 'chunk_length' | 'longest';
  /** Placeholder tokens of a sound of so many frames. */
  tokens(frames: number): number;
  /** Frames below which there is no token. */
  minFrames: number;
}

/** Samples below which the ends of a sound cannot be mirrored. */
const minSamples = 201;

/**
 * Features of a record's sounds, which depend on one another where they are padded to the longest.
 *
 * @param sounds 16 kHz mono
 * @throws Error for a sound that is too short
 */
export function soundFeatures(
  sounds: readonly { samples: Float32Array; inVideo: boolean }[],
  form: SoundForm,
  { mels, maxSamples }: SoundSettings,
): AudioFeature[] {
  const longest = Math.max(...sounds.map(({ samples }) => samples.length));
  const paddedLength = form.padding === 'longest' ? longest : maxSamples;
  const features = sounds.map(({ samples, inVideo }): AudioFeature => {
    const least = Math.max(minSamples, form.minFrames * 160);
    if (samples.length < least) {
      throw new Error(
        `expected a sound of at least ${least} samples at 16 kHz (${least / 16} ms), received ${samples.length}`,
      );
    }
    const mel = native.logMel(samples.subarray(0, paddedLength), { mels, paddedLength });
    const frames = mel.length / mels;
    return { kind: 'audio', tokens: form.tokens(frames), mel, frames, longestFrames: frames, inVideo };
  });
  const longestFrames = Math.max(...features.map(({ frames }) => frames));
  return features.map((feature) => ({ ...feature, longestFrames }));
}
