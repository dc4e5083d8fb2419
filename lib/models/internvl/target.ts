import { openCheckpoint } from '../../hub/safetensors.js';
import { ops, scope, tensor } from '../../tensor.js';
import { Decoder } from '../decoder/decoder.js';
import { MultimodalTarget, type EncodedMedia } from '../multimodal-target.js';
import type { LoadTargetOptions } from '../target.js';
import { loadConfig, type InternVLConfig } from './config.js';
import { tileProblem, type TiledFeature } from './feature.js';
import { VisionTower } from './vision.js';
import { loadInternVLWeights } from './weights.js';

/** `InternVLForConditionalGeneration` and `InternVLChatModel`. */
export class InternVLTarget extends MultimodalTarget<TiledFeature> {
  private constructor(
    decoder: Decoder,
    private readonly vision: VisionTower,
    private readonly config: InternVLConfig,
  ) {
    super(config.text, decoder, { image: config.imageTokenId, video: config.imageTokenId });
  }

  /** @throws Error for a config.json or weights that are not those of the architecture, naming what is wrong */
  static load(modelDir: string, { dtype = 'float32' }: LoadTargetOptions = {}): InternVLTarget {
    const config = loadConfig(modelDir);
    const weights = loadInternVLWeights(openCheckpoint(modelDir), config, dtype);
    const decoder = new Decoder(config.text, weights.decoder);
    return new InternVLTarget(decoder, new VisionTower(config, weights.vision), config);
  }

  override dispose(): void {
    super.dispose();
    this.vision.dispose();
  }

  protected encode(media: readonly TiledFeature[]): EncodedMedia {
    const width = 3 * this.config.vision.patchSize ** 2;
    const tokens = scope(() => {
      const pixels = media.map((feature) => tensor(feature.pixels, [feature.pixels.length / width, width]));
      return this.vision.forward(ops.cat(pixels, 0));
    });
    return { tokens };
  }

  protected problem(feature: TiledFeature): string | undefined {
    return tileProblem(feature, this.config);
  }
}
