import { native } from '../../native.js';
import { ChatProcessor, type Positions } from '../chat-processor.js';
import type { ProcessorOptions } from '../family.js';
import { refuseMedia, type MediaPart } from '../processing.js';
import { loadImage } from '../qwen_vl/image.js';
import { loadProcessorSettings, type ProcessorSettings } from '../qwen_vl/settings.js';
import { loadVideo } from '../qwen_vl/video.js';
import type { Grid, VisualFeature } from '../qwen_vl/visual-feature.js';
import { loadConfig, type Qwen2_5VLConfig } from './config.js';

type Kind = VisualFeature['kind'];

/** Turns conversations with pictures and clips into samples for Qwen2.5-VL. */
export class Qwen2_5VLProcessor extends ChatProcessor<VisualFeature> {
  protected readonly placeholders: readonly string[];
  readonly #placeholder: Record<Kind, string>;

  readonly settings: ProcessorSettings;
  readonly #positionRule: 'engines' | 'transformers5';

  /**
   * Reads config, preprocessor configs, tokenizer and chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  constructor(
    modelDir: string,
    options: ProcessorOptions = {},
    readonly config: Qwen2_5VLConfig = loadConfig(modelDir),
  ) {
    super(modelDir, config.text);
    this.settings = loadProcessorSettings(modelDir, config.vision, options);
    this.#positionRule = options.positionRule ?? 'engines';
    this.#placeholder = { image: this.token(config.imageTokenId), video: this.token(config.videoTokenId) };
    this.placeholders = Object.values(this.#placeholder);
  }

  protected async load(part: MediaPart): Promise<VisualFeature[]> {
    switch (part.type) {
      case 'image':
        return [await loadImage(part.source, this.settings.image)];
      case 'video':
        return [await loadVideo(part.source, this.settings.video, part.fps)];
      case 'audio':
        return refuseMedia(part, 'Qwen2.5-VL', 'image or video');
    }
  }

  protected expansions(media: readonly VisualFeature[]): Record<string, string[]> {
    const repeated = (kind: Kind): string[] =>
      media.filter((feature) => feature.kind === kind).map(({ tokens }) => this.#placeholder[kind].repeat(tokens));
    return { [this.#placeholder.image]: repeated('image'), [this.#placeholder.video]: repeated('video') };
  }

  protected positions(ids: Int32Array, media: readonly VisualFeature[]): Positions {
    const ofKind = (kind: Kind): VisualFeature[] => media.filter((feature) => feature.kind === kind);
    const grids = (kind: Kind): Grid[] => ofKind(kind).map(({ grid }) => grid);
    const { positions, delta } = native.ropeIndexQwen2_5VL(ids, {
      imageTokenId: this.config.imageTokenId,
      videoTokenId: this.config.videoTokenId,
      mergeSize: this.config.vision.spatialMergeSize,
      tokensPerSecond: this.config.vision.tokensPerSecond,
      imageGrids: Int32Array.from(grids('image').flat()),
      videoGrids: Int32Array.from(grids('video').flat()),
      secondPerGrid: Float64Array.from(ofKind('video').map(({ secondPerGrid }) => secondPerGrid!)),
      positionRule: this.#positionRule,
    });
    return { positions, axes: 3, delta };
  }
}
