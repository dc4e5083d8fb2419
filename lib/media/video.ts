import type { MediaSource } from '../models/target.js';
import { inputFlags, probeStream, withFile } from './input.js';
import { ffmpeg, runTool } from './process.js';

/** A clip's first video stream. */
export interface VideoInfo {
  /** Number of frames, from its packets: headers lie. */
  frames: number;
  /** Average frames a second. */
  fps: number;
  /** Seconds. */
  duration: number;
  /** Pixels of a frame as it is stored: rotation is ignored, as PyAV does. */
  width: number;
  height: number;
}

function parseRate(rate: string): number {
  const [numerator, denominator] = rate.split('/').map(Number);
  return numerator! / (denominator ?? 1);
}

/**
 * Reads a clip's frame count, rate and size with ffprobe, without decoding.
 *
 * @throws MediaError where it is no clip, or ffprobe is not installed
 */
export function probeVideo(source: MediaSource): Promise<VideoInfo> {
  return withFile(source, async (file) => {
    const stream = await probeStream(file, 'V:0', 'width,height,nb_read_packets,avg_frame_rate', [
      '-count_packets',
    ]);
    const frames = Number(stream?.['nb_read_packets'] ?? 0);
    const width = Number(stream?.['width'] ?? 0);
    const height = Number(stream?.['height'] ?? 0);
    if (width === 0 || height === 0 || frames === 0) throw new Error('holds no video frames');
    const rate = String(stream?.['avg_frame_rate']);
    const fps = parseRate(rate);
    if (!(fps > 0 && Number.isFinite(fps))) {
      throw new Error(`expected a positive frame rate, received ${rate}`);
    }
    return { frames, fps, duration: frames / fps, width, height };
  });
}

/** Expression of ffmpeg's select filter; balanced, since it takes sums of about a hundred terms only. */
function selection(indices: readonly number[]): string {
  if (indices.length === 1) return `eq(n\\,${String(indices[0])})`;
  const middle = indices.length >> 1;
  return `(${selection(indices.slice(0, middle))}+${selection(indices.slice(middle))})`;
}

/**
 * Decodes the frames at `indices` (ascending, without repeats), in order, with one call of ffmpeg.
 *
 * @param onFrame receives each frame as [height, width, 3] interleaved RGB; the array is reused for the next one
 * @throws MediaError with ffmpeg's last line, or with the number of frames that could be decoded
 */
export function readFrames(
  source: MediaSource,
  info: VideoInfo,
  indices: readonly number[],
  onFrame: (frame: Uint8Array, index: number) => void,
): Promise<void> {
  return withFile(source, async (file) => {
    const select = selection(indices);
    const frame = new Uint8Array(info.height * info.width * 3);
    let filled = 0;
    let decoded = 0;
    const args = [...inputFlags, '-noautorotate', '-i', file, '-map', '0:V:0', '-vf', `select=${select}`];
    const output = ['-fps_mode', 'passthrough', '-frames:v', String(indices.length)];
    await runTool(ffmpeg, [...args, ...output, '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'], (chunk) => {
      for (let at = 0; at < chunk.length;) {
        const size = Math.min(frame.length - filled, chunk.length - at);
        frame.set(chunk.subarray(at, at + size), filled);
        at += size;
        filled += size;
        if (filled < frame.length) break;
        if (decoded < indices.length) onFrame(frame, decoded);
        decoded++;
        filled = 0;
      }
    });
    if (decoded !== indices.length || filled !== 0) {
      throw new Error(`expected ${indices.length} frames, decoded ${decoded}`);
    }
  });
}
