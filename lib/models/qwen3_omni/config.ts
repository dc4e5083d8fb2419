import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../hub/files.js';
import { checker, count, parsePart, stopTokens } from '../config.js';
import { readAudioConfig, readOmniConfig, type AudioConfig, type OmniConfig, type OmniForm } from '../qwen_omni/config.js';
import { checkTokenWidth } from '../qwen_vl/config.js';
import { readVisionConfig, type Qwen3VLVisionConfig } from '../qwen3_vl/config.js';
import { chunkTokens, convolved } from './audio-tokens.js';

/** The audio encoder. */
export interface Qwen3OmniAudioConfig extends AudioConfig {
  /** Channels of the convolutions. */
  channels: number;
  /** Mel frames that see one another, in whole chunks. */
  windowChunks: number;
}

/** config.json of a `Qwen3OmniMoeForConditionalGeneration` or `Qwen3OmniMoeThinkerForConditionalGeneration`. */
export type Qwen3OmniConfig = OmniConfig<Qwen3VLVisionConfig, Qwen3OmniAudioConfig>;

const form: OmniForm = {
  whole: { modelType: 'qwen3_omni_moe', architecture: 'Qwen3OmniMoeForConditionalGeneration' },
  thinker: { modelType: 'qwen3_omni_moe_thinker', architecture: 'Qwen3OmniMoeThinkerForConditionalGeneration' },
  decoder: {
    attentionBias: 'config',
    queryKeyNorm: true,
    mrope: { interleaved: true, sections: [24, 20, 20] },
    experts: { normTopkProb: 'config' },
  },
  textDefaults: { norm_topk_prob: true },
};

/** Classes that config.json may name. */
export const architectures = [form.whole.architecture, form.thinker.architecture];

const windowSchema = z.object({ n_window_infer: count.default(800), downsample_hidden_size: count.default(480) });

/**
 * Reads a parsed config.json.
 *
 * @param file name used in errors
 * @param stopTokenIds ids that end a turn or a text beside those in config.json; ids outside the vocabulary are dropped
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function parseConfig(raw: unknown, file: string, stopTokenIds: readonly number[] = []): Qwen3OmniConfig {
  const { prefix, ...config } = readOmniConfig(raw, form, file, stopTokenIds);
  const vision = readVisionConfig(config.vision, file, `${prefix}vision_config.`);
  checkTokenWidth(file, `${prefix}vision_config.`, 'out_hidden_size', vision.outHiddenSize, config.text);
  const audioPrefix = `${prefix}audio_config.`;
  const audio = readAudioConfig(config.audio, file, audioPrefix, config.text);
  const windows = parsePart(windowSchema, config.audio, file, audioPrefix);
  const check = checker(file, audioPrefix);
  check(
    convolved(audio.chunkFrames) === chunkTokens,
    'n_window',
    `expected chunks of ${chunkTokens} tokens (49 to 52), received ${audio.chunkFrames / 2}`,
  );
  check(
    windows.n_window_infer >= audio.chunkFrames,
    'n_window_infer',
    `expected at least a chunk of ${audio.chunkFrames} frames, received ${windows.n_window_infer}`,
  );
  return {
    ...config,
    vision,
    audio: {
      ...audio,
      channels: windows.downsample_hidden_size,
      windowChunks: Math.floor(windows.n_window_infer / audio.chunkFrames),
    },
  };
}

/** Reads config.json, and the stop tokens from the files beside it, of a model directory. */
export function loadConfig(modelDir: string): Qwen3OmniConfig {
  const file = join(modelDir, 'config.json');
  return parseConfig(readJson(file), file, stopTokens(modelDir));
}
