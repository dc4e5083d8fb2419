import { dispose, ops, scope, tensor, type Tensor } from '../../tensor.js';
import type { Decoder } from '../decoder/decoder.js';
import { MultimodalTarget, type EncodedMedia } from '../multimodal-target.js';
import type { VisionTower } from '../qwen_vl/target.js';
import { gridProblem, patchCount, patchFeatures, type PatchShape, type VisualFeature } from '../qwen_vl/visual-feature.js';
import { soundProblem, type AudioFeature, type OmniFeature } from './audio-feature.js';
import type { AudioConfig, OmniConfig } from './config.js';

/** What turns mel frames into tokens. */
export interface AudioTower {
  /** Tokens of sounds [Σ tokens, H], in order. */
  forward(sounds: readonly AudioFeature[]): Tensor;
  /** Tokens of a sound of so many frames. */
  tokens(frames: number): number;
  dispose(): void;
}

/** The thinker of an omni model: two towers before a text decoder. */
export class OmniTarget extends MultimodalTarget<OmniFeature> {
  /** Takes over decoder and towers. */
  constructor(
    private readonly config: OmniConfig<PatchShape, AudioConfig>,
    decoder: Decoder,
    private readonly vision: VisionTower,
    private readonly audio: AudioTower,
  ) {
    super(config.text, decoder, {
      image: config.imageTokenId,
      video: config.videoTokenId,
      audio: config.audioTokenId,
    });
  }

  override dispose(): void {
    super.dispose();
    this.vision.dispose();
    this.audio.dispose();
  }

  protected encode(media: readonly OmniFeature[]): EncodedMedia {
    const visual = media.filter((feature) => feature.kind !== 'audio');
    const sounds = media.filter((feature) => feature.kind === 'audio');
    return scope(() => {
      const seen = visual.length > 0 ? this.#see(visual) : undefined;
      const heard = sounds.length > 0 ? this.audio.forward(sounds) : undefined;
      const deepstack = seen?.deepstack;
      if (!seen || !heard) return { tokens: (seen?.tokens ?? heard)!, ...(deepstack && { deepstack }) };
      const both = ops.cat([seen.tokens, heard], 0);
      const order = tensor(mediaOrder(media, seen.tokens.shape[0]!), [both.shape[0]!]);
      const tokens = ops.gatherRows(both, order);
      dispose([both, order]);
      return { tokens, ...(deepstack && { deepstack }) };
    });
  }

  protected problem(feature: OmniFeature): string | undefined {
    return feature.kind === 'audio'
      ? soundProblem(feature, this.config.audio.mels, this.audio.tokens(feature.frames))
      : gridProblem(feature, this.config.vision);
  }

  #see(media: readonly VisualFeature[]): EncodedMedia {
    const width = patchFeatures(this.config.vision);
    const pixels = media.map((feature) => tensor(feature.pixels, [patchCount(feature.grid), width]));
    return this.vision.forward(
      ops.cat(pixels, 0),
      media.map(({ grid }) => grid),
    );
  }
}

/** Rows of media in order, out of those of pictures and clips followed by those of sounds. */
function mediaOrder(media: readonly OmniFeature[], heardFrom: number): Int32Array {
  let seen = 0;
  let heard = heardFrom;
  return Int32Array.from(
    media.flatMap(({ kind, tokens }) => {
      const start = kind === 'audio' ? heard : seen;
      if (kind === 'audio') heard += tokens;
      else seen += tokens;
      return Array.from({ length: tokens }, (_, i) => start + i);
    }),
  );
}
