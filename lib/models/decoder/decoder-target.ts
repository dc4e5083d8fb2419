import { scope, type Tensor } from '../../tensor.js';
import type { KVCache, PrefillOptions, PrefillResult, Sample, Target, TargetInfo } from '../target.js';
import type { Decoder, Deepstack } from './decoder.js';
import { packSamples, type Packed } from './pack.js';

/** A target with one causal text decoder. Families with media are `MultimodalTarget`s. */
export class DecoderTarget implements Target {
  /** Takes over the decoder. */
  constructor(
    readonly info: TargetInfo,
    protected readonly decoder: Decoder,
  ) {}

  get embedTokens(): Tensor {
    return this.decoder.weights.embedTokens;
  }

  get lmHead(): Tensor {
    return this.decoder.weights.lmHead;
  }

  get finalNorm(): Tensor {
    return this.decoder.weights.finalNorm;
  }

  prefill(samples: readonly Sample[], options: PrefillOptions): PrefillResult {
    const packed = packSamples(samples);
    return scope(() => {
      const x = this.decoder.embed(packed.ids);
      const deepstack = this.mergeMedia(x, samples, packed);
      return this.decoder.prefill(x, packed, options, deepstack);
    });
  }

  newCache(): KVCache {
    return this.decoder.newCache();
  }

  decode(
    cache: KVCache,
    ids: Int32Array,
    positions: Float32Array,
    auxLayerIds: readonly number[],
  ): ReturnType<Target['decode']> {
    return this.decoder.decode(cache, ids, positions, auxLayerIds);
  }

  logits(rows: Tensor): Tensor {
    return this.decoder.logits(rows);
  }

  dispose(): void {
    this.decoder.dispose();
  }

  /** Overwrites the rows of the embeddings `x` [N, H] that are placeholders of media. */
  protected mergeMedia(_x: Tensor, samples: readonly Sample[], _packed: Packed): Deepstack | undefined {
    const withMedia = samples.find(({ media }) => media.length > 0);
    if (withMedia) {
      throw new Error(
        `[prefill] sample ${withMedia.id}: expected text only, received ${withMedia.media.length} media: ` +
          `${this.info.architecture} takes none`,
      );
    }
    return undefined;
  }
}
