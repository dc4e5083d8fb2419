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

/** What decoding needs to know beside. */
interface Sound extends AudioInfo {
  /** Samples of an ogg's vorbis stream, by its last page. */
  vorbisSamples?: number;
}

async function probe(file: string): Promise<Sound | undefined> {
  const fields = 'codec_name,channels,sample_rate,duration,start_pts,duration_ts,time_base';
  const stream = await probeStream(file, 'a:0', fields);
  if (!stream) return undefined;
  const channels = Number(stream['channels']);
  const sampleRate = Number(stream['sample_rate']);
  const duration = Number(stream['duration']);
  if (!(channels > 0 && sampleRate > 0)) {
    throw new Error(`expected channels and a sample rate, received ${channels} and ${sampleRate}`);
  }
  const counted =
    stream['codec_name'] === 'vorbis' &&
    stream['start_pts'] === 0 &&
    stream['time_base'] === `1/${sampleRate}`;
  const samples = Number(stream['duration_ts']);
  return {
    channels,
    sampleRate,
    ...(Number.isFinite(duration) && { duration }),
    ...(counted && samples > 0 && { vorbisSamples: samples }),
  };
}

async function probeSound(file: string): Promise<Sound> {
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
  return withFile(source, async (file) => {
    const { channels, sampleRate, duration } = await probeSound(file);
    return { channels, sampleRate, ...(duration !== undefined && { duration }) };
  });
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
function filters({ channels, vorbisSamples }: Sound): string {
  const cut = vorbisSamples === undefined ? '' : `atrim=end_sample=${String(vorbisSamples)},`;
  const average = Array.from({ length: channels }, (_, c) => `${String(1 / channels)}*c${String(c)}`).join(
    '+',
  );
  return [
    `[0:a:0]${cut}aformat=sample_fmts=flt,pan=mono|c0=${average},asplit[resampled][mono]`,
    `[resampled]aresample=${String(audioRate)}:resampler=soxr:precision=20:osf=flt[sound]`,
  ].join(';');
}

/**
 * Decodes a sound, or a clip's sound track, to 16 kHz mono with one call of ffmpeg. The samples are those of
 * `librosa.load(sr=16000, mono=True)`: the same bits for wav and flac of one or two channels, within 3e-7 for more;
 * lossy formats differ as the decoders do (up to 5e-5, where the decoder does not clip).
 *
 * @throws MediaError where there is no audio stream, it holds no sample, a part cannot be decoded (a wav cut short can, and
 *   is as long as it is), or ffmpeg is not installed
 */
export function readAudio(source: MediaSource): Promise<Float32Array> {
  return withFile(source, async (file) => {
    const sound = await probeSound(file);
    // ffmpeg 5 cuts a vorbis stream of a single page at the wrong sample: it is told not to, and its filter cuts.
    const whole = sound.vorbisSamples === undefined ? [] : ['-flags2', '+skip_manual'];
    const chunks: Buffer[] = [];
    let stored = 0;
    const input = [...inputFlags, ...strict, ...whole, '-i', file, '-filter_complex', filters(sound)];
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
    const samples = new Float32Array(Math.ceil(stored * (audioRate / sound.sampleRate)));
    const bytes = new Uint8Array(samples.buffer);
    bytes.set(Buffer.concat(chunks).subarray(0, bytes.length));
    return samples;
  });
}
