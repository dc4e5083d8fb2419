import { ops, scope, tensor, type Tensor } from '../tensor.js';
import { DecoderTarget } from './decoder/decoder-target.js';
import type { Decoder, Deepstack } from './decoder/decoder.js';
import type { Packed } from './decoder/pack.js';
import type { MediaFeature, Sample, TargetInfo } from './target.js';

/** What the towers make of media. */
export interface EncodedMedia {
  /** float32 [M, H]: tokens of all media, in order. */
  tokens: Tensor;
  /** float32 [Mv, H] each: what decoder layer k adds at the slots of pictures and clips, in order. */
  deepstack?: readonly Tensor[];
}

/** Medium `index` of a sample, for messages. */
interface Placed {
  sample: Sample;
  index: number;
}

/** A target whose media become rows of its decoder's input embeddings. */
export abstract class MultimodalTarget<Feature extends MediaFeature> extends DecoderTarget {
  /**
   * Takes over the decoder.
   *
   * @param placeholders id of the tokens that the media of each kind fill; kinds may share one
   */
  constructor(
    info: TargetInfo,
    decoder: Decoder,
    private readonly placeholders: Readonly<Record<Feature['kind'], number>>,
  ) {
    super(info, decoder);
  }

  /** Runs the towers. */
  protected abstract encode(media: readonly Feature[]): EncodedMedia;

  /** Why a feature cannot be encoded (its sizes disagree); undefined if it can. */
  protected abstract problem(feature: Feature): string | undefined;

  protected override mergeMedia(x: Tensor, samples: readonly Sample[], packed: Packed): Deepstack | undefined {
    const media = samples.flatMap((sample) => sample.media.map((_, index) => this.#checked({ sample, index })));
    const slots = samples.map((sample, s) => this.#slots(sample, packed.starts[s]!));
    if (media.length === 0) return undefined;
    return scope(() => {
      const { tokens, deepstack } = this.encode(media);
      const all = Int32Array.from(slots.flat(2));
      ops.scatterRows(x, tensor(all, [all.length]), tokens);
      if (!deepstack) return undefined;
      const visual = Int32Array.from(slots.flat().flatMap((rows, i) => (media[i]!.kind === 'audio' ? [] : rows)));
      return { slots: tensor(visual, [visual.length]), features: deepstack };
    });
  }

  #checked({ sample, index }: Placed): Feature {
    const feature = sample.media[index]! as Feature;
    const where = `[prefill] sample ${sample.id}, medium ${index} (${feature.kind})`;
    if (!Object.hasOwn(this.placeholders, feature.kind)) {
      throw new Error(`${where}: expected ${Object.keys(this.placeholders).join(' or ')}, received ${feature.kind}`);
    }
    const problem = this.problem(feature);
    if (problem !== undefined) throw new Error(`${where}: ${problem}`);
    return feature;
  }

  /** Rows of the placeholders of each medium of a sample; `start` is the sample's first row. */
  #slots({ id, inputIds, lossMask, media }: Sample, start: number): number[][] {
    const free = new Map(Object.values<number>(this.placeholders).map((placeholder) => [placeholder, [] as number[]]));
    inputIds.forEach((token, i) => {
      // What the assistant wrote is text, whatever it wrote.
      if (lossMask[i] === 0) free.get(token)?.push(start + i);
    });
    const slots = media.map(({ kind, tokens }, i) => {
      const rows = free.get(this.placeholders[kind as Feature['kind']])!.splice(0, tokens);
      if (rows.length === tokens) return rows;
      throw new Error(
        `[prefill] sample ${id}, medium ${i} (${kind}): expected ${tokens} placeholders, received ${rows.length}`,
      );
    });
    for (const [placeholder, { length }] of free) {
      if (length === 0) continue;
      throw new Error(
        `[prefill] sample ${id}: expected as many placeholders as its ${media.length} media fill, ` +
          `received ${length} more of id ${placeholder}`,
      );
    }
    return slots;
  }
}
