import type { ProcessorOptions } from '../family.js';
import { QwenVLProcessor, type ClipSpans } from '../qwen_vl/processor.js';
import { loadProcessorSettings } from '../qwen_vl/settings.js';
import type { VisualFeature } from '../qwen_vl/visual-feature.js';
import { loadConfig, type Qwen2_5VLConfig, type Qwen2_5VLVisionConfig } from './config.js';

/** Turns conversations with pictures and clips into samples for Qwen2.5-VL: time positions follow the clock. */
export class Qwen2_5VLProcessor extends QwenVLProcessor<Qwen2_5VLVisionConfig> {
  /**
   * Reads config, preprocessor configs, tokenizer and chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  constructor(
    modelDir: string,
    options: ProcessorOptions = {},
    config: Qwen2_5VLConfig = loadConfig(modelDir),
  ) {
    const settings = loadProcessorSettings(modelDir, config.vision, options);
    super(modelDir, options, 'Qwen2.5-VL', config, settings);
  }

  protected override clipSpans(clips: readonly VisualFeature[]): ClipSpans {
    return {
      grids: clips.map(({ grid }) => grid),
      secondPerGrid: clips.map(({ secondPerGrid }) => secondPerGrid!),
      tokensPerSecond: this.config.vision.tokensPerSecond,
    };
  }
}
