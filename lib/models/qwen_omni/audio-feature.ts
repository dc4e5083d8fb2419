import type { MediaFeature } from '../target.js';
import type { VisualFeature } from '../qwen_vl/visual-feature.js';

/** A sound, or a clip's sound track, as the processors of Qwen's omni families make it. */
export interface AudioFeature extends MediaFeature {
  kind: 'audio';
  /** Log-mel features [mels, frames], a frame every 10 ms. */
  mel: Float32Array;
  frames: number;
  /** Frames of the longest sound of the record: what transformers pads the record's sounds to. */
  longestFrames: number;
  /** Whether it is the sound track of the clip before it, and mixed with its frames. */
  inVideo: boolean;
}

export type OmniFeature = VisualFeature | AudioFeature;

/** How a feature's sizes disagree; undefined where they do not. */
export function soundProblem(
  { mel, frames, longestFrames, tokens }: AudioFeature,
  mels: number,
  expectedTokens: number,
): string | undefined {
  if (mel.length === mels * frames && tokens === expectedTokens && longestFrames >= frames) return undefined;
  return (
    `expected ${mels * frames} values and ${expectedTokens} tokens for ${frames} frames, at most ${longestFrames}, ` +
    `received ${mel.length} and ${tokens}`
  );
}
