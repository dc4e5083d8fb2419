import { openCheckpoint } from '../../hub/safetensors.js';
import { ops, scope, tensor, type Tensor } from '../../tensor.js';
import { DecoderTarget } from '../decoder/decoder-target.js';
import { Decoder } from '../decoder/decoder.js';
import type { Packed } from '../decoder/pack.js';
import type { LoadTargetOptions, MediaFeature, Sample } from '../target.js';
import { loadConfig, type Qwen2_5VLConfig } from './config.js';
import { VisionTower } from './vision.js';
import type { Grid } from './vision-layout.js';
import { loadQwen2_5VLWeights } from './weights.js';

/** A picture or clip as the processor makes it. */
export interface VisualFeature extends MediaFeature {
  kind: 'image' | 'video';
  grid: Grid;
  /** Patch rows [t·h·w, channels · temporal patch · patch²], in merge blocks. */
  pixels: Float32Array;
}

/** `Qwen2_5_VLForConditionalGeneration`. */
export class Qwen2_5VLTarget extends DecoderTarget {
  private constructor(
    decoder: Decoder,
    private readonly vision: VisionTower,
    private readonly config: Qwen2_5VLConfig,
  ) {
    super(config.text, decoder);
  }

  /** @throws Error for a config.json or weights that are not those of the architecture, naming what is wrong */
  static load(modelDir: string, { dtype = 'float32' }: LoadTargetOptions = {}): Qwen2_5VLTarget {
    const config = loadConfig(modelDir);
    const weights = loadQwen2_5VLWeights(openCheckpoint(modelDir), config, dtype);
    const decoder = new Decoder(config.text, config.text.hiddenAct, weights.decoder);
    return new Qwen2_5VLTarget(decoder, new VisionTower(config.vision, weights.vision), config);
  }

  override dispose(): void {
    super.dispose();
    this.vision.dispose();
  }

  protected override mergeMedia(x: Tensor, samples: readonly Sample[], packed: Packed): void {
    const media = samples.flatMap((sample) => this.#visuals(sample));
    if (media.length === 0) return;
    scope(() => {
      const pixels = media.map((feature) => tensor(feature.pixels, [patches(feature), this.#patchFeatures]));
      const tokens = this.vision.forward(
        ops.cat(pixels, 0),
        media.map(({ grid }) => grid),
      );
      const slots = Int32Array.from(samples.flatMap((sample, s) => this.#slots(sample, packed.starts[s]!)));
      ops.scatterRows(x, tensor(slots, [slots.length]), tokens);
    });
  }

  get #patchFeatures(): number {
    const { inChannels, temporalPatchSize, patchSize } = this.config.vision;
    return inChannels * temporalPatchSize * patchSize * patchSize;
  }

  #visuals(sample: Sample): VisualFeature[] {
    const merge = this.config.vision.spatialMergeSize;
    return sample.media.map((medium, i) => {
      const feature = medium as VisualFeature;
      const { kind, grid, pixels, tokens } = feature;
      const where = `[prefill] sample ${sample.id}, medium ${i} (${kind})`;
      if (grid[1] % merge !== 0 || grid[2] % merge !== 0) {
        throw new Error(`${where}: expected a grid of multiples of ${merge}, received ${grid.join(' × ')}`);
      }
      const expected = patches(feature) * this.#patchFeatures;
      if (pixels.length !== expected || tokens !== patches(feature) / merge ** 2) {
        throw new Error(
          `${where}: expected ${expected} values and ${patches(feature) / merge ** 2} tokens ` +
            `for the grid ${grid.join(' × ')}, received ${pixels.length} and ${tokens}`,
        );
      }
      return feature;
    });
  }

  /** Rows of a sample's placeholders, in the order of its media; `start` is its first row. */
  #slots({ id, inputIds, media }: Sample, start: number): number[] {
    const { imageTokenId, videoTokenId } = this.config;
    const slots: number[] = [];
    media.forEach(({ kind, tokens }, i) => {
      const placeholder = kind === 'image' ? imageTokenId : videoTokenId;
      let at = (slots.at(-1) ?? start - 1) - start;
      for (let n = 0; n < tokens; n++) {
        do at++;
        while (at < inputIds.length && inputIds[at] !== imageTokenId && inputIds[at] !== videoTokenId);
        if (inputIds[at] !== placeholder) {
          throw new Error(`[prefill] sample ${id}, medium ${i} (${kind}): expected ${tokens} placeholders, received ${n}`);
        }
        slots.push(start + at);
      }
    });
    const rest = inputIds.subarray((slots.at(-1) ?? start - 1) - start + 1);
    if (rest.includes(imageTokenId) || rest.includes(videoTokenId)) {
      throw new Error(`[prefill] sample ${id}: expected as many placeholders as its ${media.length} media fill, received more`);
    }
    return slots;
  }
}

/** Number of patch rows. */
function patches({ grid: [frames, height, width] }: VisualFeature): number {
  return frames * height * width;
}
