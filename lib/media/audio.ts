import type { MediaSource } from '../models/target.js';
import { inputFlags, probeStream, withFile } from './input.js';
import { ffmpeg, runTool } from './process.js';

/** Samples a second of what {@link readAudio} gives, which every audio encoder here hears. */
export const audioRate = 16_000;

/** The first audio stream of a file. */
export interface AudioInfo {
  channels: number;
  /** Samples a second, as stored. */
  sampleRate: number;
  /**
   * Seconds by the container's header; absent where it does not say. Exact for wav and flac, an estimate for mp3
   * without a header of its own: the number of samples is known only after {@link readAudio}.
   */
  duration?: number;
}

async function probe(file: string): Promise<AudioInfo | undefined> {
  const stream = await probeStream(file, 'a:0', 'channels,sample_rate,duration');
  if (!stream) return undefined;
  const channels = Number(stream['channels']);
  const sampleRate = Number(stream['sample_rate']);
  const duration = Number(stream['duration']);
  if (!(channels > 0 && sampleRate > 0)) {
    throw new Error(`expected channels and a sample rate, received ${channels} and ${sampleRate}`);
  }
  return { channels, sampleRate, ...(Number.isFinite(duration) && { duration }) };
}

async function probeSound(file: string): Promise<AudioInfo> {
  const info = await probe(file);
  if (!info) throw new Error('holds no sound: it has no audio stream');
  return info;
}

/**
 * Reads the form of a sound, or of a clip's sound track, with ffprobe, without decoding.
 *
 * @throws MediaError where there is no audio stream, the file is none that ffprobe knows, or ffprobe is not installed
 */
export function probeAudio(source: MediaSource): Promise<AudioInfo> {
  return withFile(source, probeSound);
}

/**
 * Whether a clip has a sound track.
 *
 * @throws MediaError where the file is none that ffprobe knows, or ffprobe is not installed
 */
export function hasAudio(source: MediaSource): Promise<boolean> {
  return withFile(source, async (file) => (await probe(file)) !== undefined);
}

/** A frame that cannot be decoded is an error; by default ffmpeg leaves it out as long as others can. */
const strict = ['-max_error_rate', '0'];

/**
 * The filters that make librosa's samples, `[sound]`, and the mono signal that they resample, `[mono]`. Samples become
 * floats before the channels are averaged, which would round to 16 bits otherwise, and the average is spelled out,
 * since ffmpeg's own mono is 0.7 (left + right). Precision 20 is soxr's "HQ".
 */
function filters(channels: number): string {
  const average = Array.from({ length: channels }, (_, c) => `${String(1 / channels)}*c${String(c)}`).join(
    '+',
  );
  return [
    `[0:a:0]aformat=sample_fmts=flt,pan=mono|c0=${average},asplit[resampled][mono]`,
    `[resampled]aresample=${String(audioRate)}:resampler=soxr:precision=20:osf=flt[sound]`,
  ].join(';');
}

/**
 * Decodes a sound, or a clip's sound track, to 16 kHz mono with one call of ffmpeg. The samples are those of
 * `librosa.load(sr=16000, mono=True)`: the same bits for wav and flac of one or two channels, within 3e-7 for more;
 * lossy formats differ as the decoders do (up to 5e-5, where the decoder does not clip). ffmpeg 5 keeps the up to 3 ms of
 * padding at the end of a vorbis file of a single page, so of less than a second.
 *
 * @throws MediaError where there is no audio stream, it holds no sample, a part cannot be decoded (a wav cut short can, and
 *   is as long as it is), or ffmpeg is not installed
 */
export function readAudio(source: MediaSource): Promise<Float32Array> {
  return withFile(source, async (file) => {
    const { channels, sampleRate } = await probeSound(file);
    const chunks: Buffer[] = [];
    let stored = 0;
    const input = [...inputFlags, ...strict, '-i', file, '-filter_complex', filters(channels)];
    // One byte a sample of the unresampled signal counts it: headers lie.
    const outputs = ['-map', '[sound]', '-f', 'f32le', 'pipe:1', '-map', '[mono]', '-f', 'u8', 'pipe:3'];
    await runTool(
      ffmpeg,
      [...input, ...outputs],
      (chunk) => chunks.push(chunk),
      (chunk) => (stored += chunk.length),
    );
    if (stored === 0) throw new Error('holds no sound: its audio stream is empty');
    // librosa rounds the length up, with zeros, where soxr rounds to the nearest.
    const samples = new Float32Array(Math.ceil(stored * (audioRate / sampleRate)));
    const bytes = new Uint8Array(samples.buffer);
    bytes.set(Buffer.concat(chunks).subarray(0, bytes.length));
    return samples;
  });
}
