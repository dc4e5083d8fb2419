import { join } from 'node:path';
import { isObject, readJson } from '../../hub/files.js';
import { stopTokens } from '../config.js';
import { readAudioConfig, readOmniConfig, type AudioConfig, type OmniConfig, type OmniForm } from '../qwen_omni/config.js';
import { checkTokenWidth } from '../qwen_vl/config.js';
import { readVisionConfig, type Qwen2_5VLVisionConfig } from '../qwen2_5_vl/config.js';

/** config.json of a `Qwen2_5OmniForConditionalGeneration` or `Qwen2_5OmniThinkerForConditionalGeneration`. */
export type Qwen2_5OmniConfig = OmniConfig<Qwen2_5VLVisionConfig, AudioConfig>;

const form: OmniForm = {
  whole: { modelType: 'qwen2_5_omni', architecture: 'Qwen2_5OmniForConditionalGeneration' },
  thinker: { modelType: 'qwen2_5_omni_thinker', architecture: 'Qwen2_5OmniThinkerForConditionalGeneration' },
  decoder: { attentionBias: 'always', queryKeyNorm: false, mrope: { interleaved: false } },
  textDefaults: {},
};

/** Classes that config.json may name. */
export const architectures = [form.whole.architecture, form.thinker.architecture];

/**
 * Reads a parsed config.json.
 *
 * @param file name used in errors
 * @param stopTokenIds ids that end a turn or a text beside those in config.json; ids outside the vocabulary are dropped
 * @throws Error `file: key: reason` for every missing or nonsensical field
 */
export function parseConfig(raw: unknown, file: string, stopTokenIds: readonly number[] = []): Qwen2_5OmniConfig {
  const { prefix, ...config } = readOmniConfig(raw, form, file, stopTokenIds);
  const { positionsPerSecond: tokens_per_second } = config;
  // The thinker's own rate counts; the tower's is absent in transformers' files.
  const visionFields = isObject(config.vision) ? { ...config.vision, tokens_per_second } : config.vision;
  const vision = readVisionConfig(visionFields, file, `${prefix}vision_config.`);
  checkTokenWidth(file, `${prefix}vision_config.`, 'out_hidden_size', vision.outHiddenSize, config.text);
  const audio = readAudioConfig(config.audio, file, `${prefix}audio_config.`, config.text);
  return { ...config, vision, audio };
}

/** Reads config.json, and the stop tokens from the files beside it, of a model directory. */
export function loadConfig(modelDir: string): Qwen2_5OmniConfig {
  const file = join(modelDir, 'config.json');
  return parseConfig(readJson(file), file, stopTokens(modelDir));
}
