import type { ProcessorOptions } from '../family.js';
import { QwenVLProcessor, type ClipSpans } from '../qwen_vl/processor.js';
import { loadProcessorSettings } from '../qwen_vl/settings.js';
import type { Grid, VisualFeature } from '../qwen_vl/visual-feature.js';
import type { MediaSource } from '../target.js';
import { loadConfig, type Qwen3VLConfig, type Qwen3VLVisionConfig } from './config.js';
import { loadTimedVideo, videoDefaults } from './video.js';

/** One decimal of a number that is not negative, as Python's `:.1f`: halves, which binary has at quarters, to the even. */
export function oneDecimal(value: number): string {
  const isTie = (4 * value) % 2 === 1;
  if (!isTie) return value.toFixed(1);
  const tenths = Math.floor(10 * value);
  return ((tenths + (tenths % 2)) / 10).toFixed(1);
}

/** Turns conversations with pictures and clips into samples for Qwen3-VL: every frame of a clip follows its time. */
export class Qwen3VLProcessor extends QwenVLProcessor<Qwen3VLVisionConfig> {
  readonly #start: string;
  readonly #end: string;

  /**
   * Reads config, preprocessor configs, tokenizer and chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  constructor(
    modelDir: string,
    options: ProcessorOptions = {},
    config: Qwen3VLConfig = loadConfig(modelDir),
  ) {
    const settings = loadProcessorSettings(modelDir, config.vision, options, videoDefaults);
    super(modelDir, options, 'Qwen3-VL', config, settings);
    this.#start = this.token(config.visionStartTokenId);
    this.#end = this.token(config.visionEndTokenId);
  }

  protected override loadClip(source: MediaSource, fps: number | undefined): Promise<VisualFeature> {
    return loadTimedVideo(source, this.settings.video, fps);
  }

  /**
   * Engines put a clip's frames in the place of the template's pair around its placeholder, transformers 5 inside the
   * pair.
   */
  protected override clipExpansions(clips: readonly VisualFeature[]): Record<string, string[]> {
    const { video } = this.placeholder;
    const slot = this.positionRule === 'engines' ? this.#start + video + this.#end : video;
    const texts = clips.map(({ tokens, timestamps }) => {
      const frame = this.#start + video.repeat(tokens / timestamps!.length) + this.#end;
      return timestamps!.map((time) => `<${oneDecimal(time)} seconds>${frame}`).join('');
    });
    return { [slot]: texts };
  }

  /** Each frame has positions like a picture's. */
  protected override clipSpans(clips: readonly VisualFeature[]): ClipSpans {
    const grids = clips.flatMap(({ grid: [frames, height, width] }) => new Array<Grid>(frames).fill([1, height, width]));
    return { grids, secondPerGrid: grids.map(() => 1), tokensPerSecond: 1 };
  }
}
