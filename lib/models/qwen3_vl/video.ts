import type { VideoInfo } from '../../media/video.js';
import { roundHalfEven } from '../processing.js';
import { checkAspectRatio } from '../qwen_vl/image.js';
import type { VideoDefaults, VideoSettings } from '../qwen_vl/settings.js';
import { loadClip, type ClipPlan } from '../qwen_vl/video.js';
import type { VisualFeature } from '../qwen_vl/visual-feature.js';
import type { MediaSource } from '../target.js';

/** Of transformers' `Qwen3VLVideoProcessor`: bounds are of the volume of a clip, frames times area. */
export const videoDefaults: VideoDefaults = {
  patchSize: 16,
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  minPixels: 128 * 32 * 32,
  maxPixels: 768 * 32 * 32,
  maxVideoTokens: 768,
};

/**
 * Frames that are taken of a clip: `fps` a second, within the bounds, evenly spaced from the first to the last.
 *
 * @throws Error where the clip has fewer frames than a temporal patch
 */
export function sampleFrames(info: VideoInfo, settings: VideoSettings, fps = settings.fps): number[] {
  if (!(fps > 0)) throw new Error(`expected a positive fps, received ${fps}`);
  const { minFrames, maxFrames, temporalPatchSize } = settings;
  const wanted = Math.trunc((info.frames / info.fps) * fps);
  const count = Math.min(Math.max(wanted, minFrames), maxFrames, info.frames);
  if (count < temporalPatchSize) {
    throw new Error(`expected a clip of at least ${temporalPatchSize} frames, received ${count}`);
  }
  const step = (info.frames - 1) / (count - 1);
  return Array.from({ length: count }, (_, i) =>
    i === count - 1 ? info.frames - 1 : roundHalfEven(i * step),
  );
}

/**
 * Size near the given one, in multiples of `factor`, of the same shape as far as they allow, such that `frames` frames
 * of it have between `minPixels` and `maxPixels` pixels.
 *
 * @throws Error where one side is more than 200 times the other
 */
export function resizeClip(
  size: { height: number; width: number },
  frames: number,
  factor: number,
  { temporalPatchSize, minPixels, maxPixels }: VideoSettings,
): { height: number; width: number } {
  const grow = Math.max(factor / size.height, factor / size.width, 1);
  const height = Math.trunc(size.height * grow);
  const width = Math.trunc(size.width * grow);
  checkAspectRatio(height, width);
  const nearest = (side: number, unit: number): number => roundHalfEven(side / unit) * unit;
  const volume =
    nearest(frames, temporalPatchSize) * (nearest(height, factor) * nearest(width, factor));
  if (volume > maxPixels) {
    const shrink = Math.sqrt((frames * height * width) / maxPixels);
    const fit = (side: number): number => Math.max(factor, Math.floor(side / shrink / factor) * factor);
    return { height: fit(height), width: fit(width) };
  }
  if (volume < minPixels) {
    const stretch = Math.sqrt(minPixels / (frames * height * width));
    const fit = (side: number): number => Math.ceil((side * stretch) / factor) * factor;
    return { height: fit(height), width: fit(width) };
  }
  return { height: nearest(height, factor), width: nearest(width, factor) };
}

/** Budget of a clip's volume where frames are capped, as qwen-vl-utils does. */
function cappedVolume(frames: number, factor: number, settings: VideoSettings): number {
  const { minPixels, maxPixels, maxVideoTokens } = settings;
  const frame = Math.min(maxVideoTokens * factor * factor, Math.floor(maxPixels / frames));
  return Math.max(frame, Math.trunc(minPixels * 1.05)) * frames;
}

/** Seconds of each temporal patch: the mean of its first and last frame. */
function timestampsOf(indices: readonly number[], fps: number, temporalPatchSize: number): number[] {
  const count = Math.ceil(indices.length / temporalPatchSize);
  const time = (i: number): number => indices[Math.min(i, indices.length - 1)]! / fps;
  return Array.from({ length: count }, (_, k) => {
    const first = k * temporalPatchSize;
    return (time(first) + time(first + temporalPatchSize - 1)) / 2;
  });
}

function planClip(info: VideoInfo, settings: VideoSettings, fps?: number): ClipPlan {
  const { patchSize, mergeSize, temporalPatchSize, capPixelsPerFrame } = settings;
  const factor = patchSize * mergeSize;
  const indices = sampleFrames(info, settings, fps);
  const maxPixels = capPixelsPerFrame ? cappedVolume(indices.length, factor, settings) : settings.maxPixels;
  const { height, width } = resizeClip(info, indices.length, factor, { ...settings, maxPixels });
  const timestamps = timestampsOf(indices, info.fps, temporalPatchSize);
  return { height, width, grid: [timestamps.length, height / patchSize, width / patchSize], indices, timestamps };
}

/**
 * Pixels and times of a clip's sampled frames, as transformers' `Qwen3VLVideoProcessor` makes them where frames keep
 * their size; where not, frames are resized as Pillow does.
 *
 * @throws MediaError where it cannot be decoded, is too short or too narrow
 */
export function loadTimedVideo(source: MediaSource, settings: VideoSettings, fps?: number): Promise<VisualFeature> {
  return loadClip(source, settings, (info) => planClip(info, settings, fps));
}
