import { native } from '../../native.js';
import { atSource } from '../../media/source.js';
import { probeVideo, readFrames, type VideoInfo } from '../../media/video.js';
import type { MediaSource } from '../target.js';
import { planFrames } from './image.js';
import type { VideoSettings } from './settings.js';
import { patchCount, type VisualFeature } from './visual-feature.js';

/** What is known of a clip before its pixels are. */
export interface ClipPlan extends Pick<VisualFeature, 'grid' | 'secondPerGrid' | 'timestamps'> {
  /** Pixels that its frames are resized to. */
  height: number;
  width: number;
  /** Frames that are looked at; the last one is repeated to fill a temporal patch. */
  indices: number[];
}

/**
 * Frames that are taken of a clip: `fps` a second, at least `minFrames` and at most `maxFrames`, whole temporal
 * patches, evenly spaced from the first on. transformers' rule, but for a rounding slip there: it sometimes counts one
 * frame more, past the clip's end.
 *
 * @throws Error where the clip has fewer frames than a temporal patch
 */
export function sampleFrames(info: VideoInfo, settings: VideoSettings, fps = settings.fps): number[] {
  if (!(fps > 0)) throw new Error(`expected a positive fps, received ${fps}`);
  const { temporalPatchSize, minFrames, maxFrames } = settings;
  const wholePatches = (frames: number): number => Math.floor(frames / temporalPatchSize) * temporalPatchSize;
  const wanted = Math.max((info.frames / info.fps) * fps, minFrames);
  const count = wholePatches(Math.min(wanted, wholePatches(Math.min(maxFrames, info.frames))));
  if (count < temporalPatchSize) {
    throw new Error(`expected a clip of at least ${temporalPatchSize} frames, received ${info.frames}`);
  }
  const step = info.frames / count;
  return Array.from({ length: count }, (_, i) => Math.trunc(Math.fround(i * step)));
}

function planClip(info: VideoInfo, settings: VideoSettings, fps?: number): ClipPlan {
  const indices = sampleFrames(info, settings, fps);
  const { patchSize, mergeSize, temporalPatchSize, minPixels, maxPixels, maxVideoTokens } = settings;
  let frameMaxPixels = maxPixels;
  if (settings.capPixelsPerFrame) {
    const budget = Math.floor(maxVideoTokens * (patchSize * mergeSize) ** 2 * 0.9);
    const share = Math.floor((budget * temporalPatchSize) / indices.length);
    frameMaxPixels = Math.max(Math.min(maxPixels, share), Math.floor(minPixels * 1.05));
  }
  const { height, width, grid } = planFrames(info, indices.length, settings, frameMaxPixels);
  return {
    height,
    width,
    grid,
    indices,
    secondPerGrid: temporalPatchSize / ((indices.length / info.frames) * info.fps),
  };
}

/**
 * Pixels of a clip's frames as it is planned to be seen.
 *
 * @throws MediaError where it cannot be decoded, or for the reason that `plan` throws
 */
export function loadClip(
  source: MediaSource,
  settings: VideoSettings,
  plan: (info: VideoInfo) => ClipPlan,
): Promise<VisualFeature> {
  return atSource(source, async () => {
    const info = await probeVideo(source);
    const { height, width, indices, ...seen } = plan(info);
    const frameBytes = height * width * 3;
    const frames = new Uint8Array(indices.length * frameBytes);
    await readFrames(source, info, indices, (frame, i) => {
      const resized = native.resize(frame, info.height, info.width, 3, height, width, settings.filter);
      frames.set(resized, i * frameBytes);
    });
    const pixels = native.patchify(frames, indices.length, height, width, settings);
    return { kind: 'video', tokens: patchCount(seen.grid) / settings.mergeSize ** 2, pixels, ...seen };
  });
}

/**
 * Pixels of a clip's sampled frames. Equal to those of transformers' `Qwen2VLVideoProcessor` where frames keep their
 * size; where not, frames are resized as Pillow does, which is within 2 of 255 levels of torchvision there.
 *
 * @throws MediaError where it cannot be decoded, is too short or too narrow
 */
export function loadVideo(source: MediaSource, settings: VideoSettings, fps?: number): Promise<VisualFeature> {
  return loadClip(source, settings, (info) => planClip(info, settings, fps));
}
