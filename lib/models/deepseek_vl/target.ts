import { openCheckpoint } from '../../hub/safetensors.js';
import { Decoder } from '../decoder/decoder.js';
import { MultimodalTarget, type EncodedMedia } from '../multimodal-target.js';
import type { LoadTargetOptions } from '../target.js';
import { loadConfig, type DeepseekVLConfig } from './config.js';
import { pictureProblem, type PictureFeature } from './feature.js';
import { Vision } from './vision.js';
import { loadDeepseekVLWeights } from './weights.js';

/** transformers' two classes and DeepSeek's `MultiModalityCausalLM`. */
export class DeepseekVLTarget extends MultimodalTarget<PictureFeature> {
  private constructor(
    decoder: Decoder,
    private readonly vision: Vision,
    private readonly config: DeepseekVLConfig,
  ) {
    super(config.text, decoder, { image: config.imageTokenId });
  }

  /** @throws Error for a config.json or weights that are not those of the architecture, naming what is wrong */
  static load(modelDir: string, { dtype = 'float32' }: LoadTargetOptions = {}): DeepseekVLTarget {
    const config = loadConfig(modelDir);
    const weights = loadDeepseekVLWeights(openCheckpoint(modelDir), config, dtype);
    return new DeepseekVLTarget(new Decoder(config.text, weights.decoder), new Vision(config, weights.vision), config);
  }

  override dispose(): void {
    super.dispose();
    this.vision.dispose();
  }

  protected encode(media: readonly PictureFeature[]): EncodedMedia {
    return { tokens: this.vision.forward(media) };
  }

  protected problem(feature: PictureFeature): string | undefined {
    return pictureProblem(feature, this.config);
  }
}
