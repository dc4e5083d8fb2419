import { native } from '../../native.js';
import { ChatProcessor, type Positions } from '../chat-processor.js';
import type { ProcessorOptions } from '../family.js';
import { refuseMedia, type MediaPart } from '../processing.js';
import type { MediaSource } from '../target.js';
import type { QwenVLConfig } from './config.js';
import { loadImage } from './image.js';
import type { ProcessorSettings } from './settings.js';
import { loadVideo } from './video.js';
import type { Grid, PatchShape, VisualFeature } from './visual-feature.js';

type Kind = VisualFeature['kind'];

/** Runs of placeholders that clips fill, and how their positions go on in time. */
export interface ClipSpans {
  grids: readonly Grid[];
  /** Seconds that a temporal patch of each spans, and time positions a second. */
  secondPerGrid: readonly number[];
  tokensPerSecond: number;
}

/**
 * Turns conversations with pictures and clips into samples. What stands here is Qwen2-VL's way: a clip is one run of
 * placeholders, and each of its temporal patches is one time position on.
 */
export class QwenVLProcessor<Vision extends PatchShape = PatchShape> extends ChatProcessor<VisualFeature> {
  protected readonly placeholders: readonly string[];
  protected readonly placeholder: Readonly<Record<Kind, string>>;
  protected readonly positionRule: 'engines' | 'transformers5';

  /**
   * Reads tokenizer and chat template of a model directory.
   *
   * @param family for messages
   * @throws Error naming the file that is missing or wrong
   */
  constructor(
    modelDir: string,
    { positionRule = 'engines' }: ProcessorOptions,
    private readonly family: string,
    readonly config: QwenVLConfig<Vision>,
    readonly settings: ProcessorSettings,
  ) {
    super(modelDir, config.text);
    this.positionRule = positionRule;
    this.placeholder = { image: this.token(config.imageTokenId), video: this.token(config.videoTokenId) };
    this.placeholders = Object.values(this.placeholder);
  }

  protected async load(part: MediaPart): Promise<VisualFeature[]> {
    switch (part.type) {
      case 'image':
        return [await loadImage(part.source, this.settings.image)];
      case 'video':
        return [await this.loadClip(part.source, part.fps)];
      case 'audio':
        return refuseMedia(part, this.family, 'image or video');
    }
  }

  protected expansions(media: readonly VisualFeature[]): Record<string, string[]> {
    const images = ofKind(media, 'image').map(({ tokens }) => this.placeholder.image.repeat(tokens));
    return { [this.placeholder.image]: images, ...this.clipExpansions(ofKind(media, 'video')) };
  }

  protected positions(ids: Int32Array, media: readonly VisualFeature[]): Positions {
    const clips = this.clipSpans(ofKind(media, 'video'));
    const { positions, delta } = native.ropeIndexQwenVL(ids, {
      imageTokenId: this.config.imageTokenId,
      videoTokenId: this.config.videoTokenId,
      mergeSize: this.config.vision.spatialMergeSize,
      tokensPerSecond: clips.tokensPerSecond,
      imageGrids: Int32Array.from(ofKind(media, 'image').flatMap(({ grid }) => grid)),
      videoGrids: Int32Array.from(clips.grids.flat()),
      secondPerGrid: Float64Array.from(clips.secondPerGrid),
      positionRule: this.positionRule,
    });
    return { positions, axes: 3, delta };
  }

  protected loadClip(source: MediaSource, fps: number | undefined): Promise<VisualFeature> {
    return loadVideo(source, this.settings.video, fps);
  }

  /** {@link expansions} of clips. */
  protected clipExpansions(clips: readonly VisualFeature[]): Record<string, string[]> {
    return { [this.placeholder.video]: clips.map(({ tokens }) => this.placeholder.video.repeat(tokens)) };
  }

  protected clipSpans(clips: readonly VisualFeature[]): ClipSpans {
    return { grids: clips.map(({ grid }) => grid), secondPerGrid: clips.map(() => 1), tokensPerSecond: 1 };
  }
}

function ofKind(media: readonly VisualFeature[], kind: Kind): VisualFeature[] {
  return media.filter((feature) => feature.kind === kind);
}
