import type { ProcessorOptions } from '../family.js';
import { mixByTime } from '../qwen_omni/mixing.js';
import { OmniProcessor, type OmniProcessorForm } from '../qwen_omni/processor.js';
import { audioTokens } from './audio-tokens.js';
import { loadConfig } from './config.js';

/** Turns conversations with pictures, clips and sounds into samples for Qwen3-Omni. */
export function loadQwen3OmniProcessor(modelDir: string, options?: ProcessorOptions): OmniProcessor {
  const config = loadConfig(modelDir);
  const form: OmniProcessorForm = {
    sound: {
      padding: 'longest',
      tokens: (frames) => audioTokens(frames, config.audio.chunkFrames),
      minFrames: 1,
    },
    nominalFps: 1,
    videoPixels: { min: 128 * 32 * 32, max: 768 * 32 * 32 },
    mix: mixByTime,
    rule: 'qwen3_omni',
  };
  return new OmniProcessor(modelDir, config, form, options);
}
