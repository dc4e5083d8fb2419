import { openCheckpoint } from '../../hub/safetensors.js';
import { ops, scope, tensor } from '../../tensor.js';
import { Decoder } from '../decoder/decoder.js';
import { MultimodalTarget, type EncodedMedia } from '../multimodal-target.js';
import { gridProblem, patchCount, patchFeatures, type VisualFeature } from '../qwen_vl/visual-feature.js';
import type { LoadTargetOptions } from '../target.js';
import { loadConfig, type Qwen2_5VLConfig } from './config.js';
import { VisionTower } from './vision.js';
import { loadQwen2_5VLWeights } from './weights.js';

/** `Qwen2_5_VLForConditionalGeneration`. */
export class Qwen2_5VLTarget extends MultimodalTarget<VisualFeature> {
  private constructor(
    decoder: Decoder,
    private readonly vision: VisionTower,
    private readonly config: Qwen2_5VLConfig,
  ) {
    super(config.text, decoder, { image: config.imageTokenId, video: config.videoTokenId });
  }

  /** @throws Error for a config.json or weights that are not those of the architecture, naming what is wrong */
  static load(modelDir: string, { dtype = 'float32' }: LoadTargetOptions = {}): Qwen2_5VLTarget {
    const config = loadConfig(modelDir);
    const weights = loadQwen2_5VLWeights(openCheckpoint(modelDir), config, dtype);
    const decoder = new Decoder(config.text, weights.decoder);
    return new Qwen2_5VLTarget(decoder, new VisionTower(config.vision, weights.vision), config);
  }

  override dispose(): void {
    super.dispose();
    this.vision.dispose();
  }

  protected encode(media: readonly VisualFeature[]): EncodedMedia {
    const width = patchFeatures(this.config.vision);
    const tokens = scope(() => {
      const pixels = media.map((feature) => tensor(feature.pixels, [patchCount(feature.grid), width]));
      const grids = media.map(({ grid }) => grid);
      return this.vision.forward(ops.cat(pixels, 0), grids);
    });
    return { tokens };
  }

  protected problem(feature: VisualFeature): string | undefined {
    return gridProblem(feature, this.config.vision);
  }
}
