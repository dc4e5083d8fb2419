import { dispose, keep, ops, scope, tensor, type Tensor } from '../../tensor.js';
import { linear, type LinearWeights } from '../encoder/layer.js';
import { tokensPerPicture, type DeepseekVLConfig } from './config.js';
import type { PictureFeature } from './feature.js';
import { SamTower, type SamWeights } from './sam.js';
import { SiglipTower, type SiglipWeights } from './siglip.js';

/** Two linear layers with GELU between them; in hybrid models the first is one for each tower, of half the width. */
export interface AlignerWeights {
  vision: LinearWeights;
  highRes?: LinearWeights;
  /** [H, H] */
  output: LinearWeights;
}

export interface VisionWeights {
  siglip: SiglipWeights;
  sam?: SamWeights;
  aligner: AlignerWeights;
}

/** SigLIP, in hybrid models SAM for the same picture in high resolution, and the aligner. */
export class Vision {
  readonly #siglip: SiglipTower;
  readonly #sam: SamTower | undefined;
  readonly #aligner: AlignerWeights;

  /** Takes over the weights. */
  constructor(
    private readonly config: DeepseekVLConfig,
    { siglip, sam, aligner }: VisionWeights,
  ) {
    this.#siglip = new SiglipTower(config.vision, siglip);
    if (config.highRes && sam) {
      this.#sam = new SamTower(config.highRes, sam, Math.sqrt(tokensPerPicture(config)));
    }
    this.#aligner = keep(aligner);
  }

  /** Tokens of pictures, float32 [Σ tokens, H], in order. */
  forward(pictures: readonly PictureFeature[]): Tensor {
    return scope(() => {
      const { vision, output } = this.#aligner;
      const patches = (pixels: Float32Array, patchSize: number): Tensor => {
        const width = 3 * patchSize ** 2;
        return tensor(pixels, [pixels.length / width, width]);
      };
      const rows = pictures.map(({ pixels }) => patches(pixels, this.config.vision.patchSize));
      const projected = [linear(this.#siglip.forward(ops.cat(rows, 0)), vision)];
      const [sam, highRes] = [this.#sam, this.#aligner.highRes];
      if (sam && highRes) {
        const { patchSize } = this.config.highRes!;
        // One by one: a picture has thousands of patches.
        const features = pictures.map(({ highResPixels }) => sam.forward(patches(highResPixels!, patchSize)));
        projected.unshift(linear(ops.cat(features, 0), highRes));
      }
      return linear(ops.activation(ops.cat(projected, 1), 'gelu'), output);
    });
  }

  dispose(): void {
    this.#siglip.dispose();
    this.#sam?.dispose();
    dispose(this.#aligner);
  }
}
