import { ops, scope, tensor, type Tensor } from '../../tensor.js';
import type { Decoder } from '../decoder/decoder.js';
import { MultimodalTarget, type EncodedMedia } from '../multimodal-target.js';
import type { QwenVLConfig } from './config.js';
import {
  gridProblem,
  patchCount,
  patchFeatures,
  type Grid,
  type PatchShape,
  type VisualFeature,
} from './visual-feature.js';

/** What turns patches into tokens. */
export interface VisionTower {
  /**
   * Tokens of media, in the order of their patches; P patches, m² of which become a token.
   *
   * @param pixels float32 [P, channels · temporal patch · patch²]: patch rows of all media, end to end
   * @param grids one per picture or clip
   */
  forward(pixels: Tensor, grids: readonly Grid[]): EncodedMedia;
  dispose(): void;
}

/** A vision tower before a text decoder. */
export class QwenVLTarget extends MultimodalTarget<VisualFeature> {
  /** Takes over decoder and tower. */
  constructor(
    private readonly config: QwenVLConfig<PatchShape>,
    decoder: Decoder,
    private readonly vision: VisionTower,
  ) {
    super(config.text, decoder, { image: config.imageTokenId, video: config.videoTokenId });
  }

  override dispose(): void {
    super.dispose();
    this.vision.dispose();
  }

  protected encode(media: readonly VisualFeature[]): EncodedMedia {
    const width = patchFeatures(this.config.vision);
    return scope(() => {
      const pixels = media.map(({ grid, pixels }) => tensor(pixels, [patchCount(grid), width]));
      return this.vision.forward(
        ops.cat(pixels, 0),
        media.map(({ grid }) => grid),
      );
    });
  }

  protected problem(feature: VisualFeature): string | undefined {
    return gridProblem(feature, this.config.vision);
  }
}
