import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MediaSource } from '../models/target.js';
import { ffmpeg, ffprobe, runTool } from './process.js';
import { atSource } from './source.js';

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

/** No network, whatever a playlist says. */
const inputFlags = ['-nostdin', '-protocol_whitelist', 'file,pipe'];

/** Calls `body` with a path that ffmpeg can seek in: bytes of a data: URI go through a temporary file. */
function withFile<T>(source: MediaSource, body: (file: string) => Promise<T>): Promise<T> {
  return atSource(source, async () => {
    if ('path' in source) return body(`file:${source.path}`);
    const directory = await mkdtemp(join(tmpdir(), 'eyas-video-'));
    try {
      const file = join(directory, 'clip');
      await writeFile(file, source.bytes);
      return await body(`file:${file}`);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
}

function parseRate(rate: string | undefined): number {
  const [numerator, denominator] = (rate ?? '').split('/').map(Number);
  return numerator! / (denominator ?? 1);
}

interface ProbeOutput {
  streams?: { width?: number; height?: number; nb_read_packets?: string; avg_frame_rate?: string }[];
}

/**
 * Reads a clip's frame count, rate and size with ffprobe, without decoding.
 *
 * @throws MediaError where it is no clip, or ffprobe is not installed
 */
export function probeVideo(source: MediaSource): Promise<VideoInfo> {
  return withFile(source, async (file) => {
    const chunks: Buffer[] = [];
    const entries = 'stream=width,height,nb_read_packets,avg_frame_rate';
    const args = ['-v', 'error', ...inputFlags.slice(1), '-select_streams', 'V:0', '-count_packets'];
    await runTool(ffprobe, [...args, '-show_entries', entries, '-of', 'json', file], (chunk) =>
      chunks.push(chunk),
    );
    const stream = (JSON.parse(Buffer.concat(chunks).toString()) as ProbeOutput).streams?.[0];
    const frames = Number(stream?.nb_read_packets ?? 0);
    const fps = parseRate(stream?.avg_frame_rate);
    if (!stream?.width || !stream.height || frames === 0) throw new Error('holds no video frames');
    if (!(fps > 0 && Number.isFinite(fps))) {
      throw new Error(`expected a positive frame rate, received ${stream.avg_frame_rate ?? 'none'}`);
    }
    return { frames, fps, duration: frames / fps, width: stream.width, height: stream.height };
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
    const args = [
      '-v',
      'error',
      ...inputFlags,
      '-noautorotate',
      '-i',
      file,
      '-map',
      '0:V:0',
      '-vf',
      `select=${select}`,
    ];
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
