import type { ProcessorOptions } from '../family.js';
import { QwenVLProcessor } from '../qwen_vl/processor.js';
import { loadProcessorSettings } from '../qwen_vl/settings.js';
import { loadConfig, type Qwen2VLConfig, type Qwen2VLVisionConfig } from './config.js';

/** Turns conversations with pictures and clips into samples for Qwen2-VL. */
export class Qwen2VLProcessor extends QwenVLProcessor<Qwen2VLVisionConfig> {
  /**
   * Reads config, preprocessor configs, tokenizer and chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  constructor(modelDir: string, options: ProcessorOptions = {}, config: Qwen2VLConfig = loadConfig(modelDir)) {
    super(modelDir, options, 'Qwen2-VL', config, loadProcessorSettings(modelDir, config.vision, options));
  }
}
