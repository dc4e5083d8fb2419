import type { ProcessorOptions } from '../family.js';
import { mixByPieces } from '../qwen_omni/mixing.js';
import { OmniProcessor, type OmniProcessorForm } from '../qwen_omni/processor.js';
import { audioTokens } from './audio-tokens.js';
import { loadConfig } from './config.js';

const form: OmniProcessorForm = {
  sound: { padding: 'chunk_length', tokens: audioTokens, minFrames: 3 },
  nominalFps: 2,
  videoPixels: { min: 128 * 28 * 28, max: 768 * 28 * 28 },
  mix: (streams, { positionsPerSecond, secondsPerChunk }) =>
    mixByPieces(streams, Math.trunc(positionsPerSecond * secondsPerChunk)),
  rule: 'qwen2_5_omni',
};

/** Turns conversations with pictures, clips and sounds into samples for Qwen2.5-Omni. */
export function loadQwen2_5OmniProcessor(modelDir: string, options?: ProcessorOptions): OmniProcessor {
  return new OmniProcessor(modelDir, loadConfig(modelDir), form, options);
}
