import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { hasAudio, probeAudio, readAudio } from '../../lib/media/audio.js';

const fixtures = fileURLToPath(new URL('../fixtures/media/audio/', import.meta.url));
const silentClip = fileURLToPath(new URL('../fixtures/qwen2_5_vl_processor/long.mp4', import.meta.url));
const at = (name: string): { path: string } => ({ path: join(fixtures, name) });
const expected = JSON.parse(readFileSync(join(fixtures, 'sounds.json'), 'utf8')) as Record<
  string,
  { samples: number; sha256: string }
>;
const names = Object.keys(expected);
const exact = names.filter((name) => /^(pcm|float)/.test(name));

function bytesOf(samples: Float32Array): Uint8Array {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
}

function reference(name: string): Float32Array {
  return new Float32Array(new Uint8Array(readFileSync(join(fixtures, `${name}.f32`))).buffer);
}

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'eyas-audio-test-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true });
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('readAudio', () => {
  it.each(exact)('%s gives the bits of librosa', async (name) => {
    const samples = await readAudio(at(name));
    expect(samples.length).toBe(expected[name]!.samples);
    expect(createHash('sha256').update(bytesOf(samples)).digest('hex')).toBe(expected[name]!.sha256);
  });

  // Other decoders: libmpg123, and ffmpeg's rounded to 16 bits by audioread.
  it.each([
    ['surround.wav', 3e-7],
    ['lossy.mp3', 5e-6],
    ['lossy.ogg', 5e-6],
    ['lossy.opus', 3e-5],
    ['lossy.m4a', 3e-5],
    ['clip.mp4', 3e-5],
  ])('%s is within %d of librosa', async (name, tolerance) => {
    const samples = await readAudio(at(name));
    const wanted = reference(name);
    expect(samples.length).toBe(wanted.length);
    expect(Math.max(...wanted.map(Math.abs))).toBeGreaterThan(0.1);
    expect(Math.max(...samples.map((x, i) => Math.abs(x - wanted[i]!)))).toBeLessThan(tolerance);
  });

  it('reads the bytes of a data: URI', async () => {
    const name = 'pcm-16-44100-2.wav';
    const samples = await readAudio({ bytes: readFileSync(join(fixtures, name)), mime: 'audio/wav' });
    expect(samples).toEqual(await readAudio(at(name)));
  });

  it('reads a wav that was streamed, whose header does not know its length', async () => {
    const name = 'pcm-16-16000-1.wav';
    const wav = readFileSync(join(fixtures, name));
    const path = join(scratch, 'streamed.wav');
    wav.writeUInt32LE(0xffffffff, 4);
    wav.writeUInt32LE(0xffffffff, wav.indexOf('data') + 4);
    writeFileSync(path, wav);
    expect(await readAudio({ path })).toEqual(await readAudio(at(name)));
  });

  it.each([
    ['000', 16000],
    ['001', 18400],
    ['005', 37600],
  ])('reads as many samples of a vorbis stream of one page as it says: %s', async (name, samples) => {
    const file = `../../models/tiny-qwen3-omni/conversations/media/heldout-${name}.ogg`;
    expect(await readAudio({ path: fileURLToPath(new URL(file, import.meta.url)) })).toHaveLength(samples);
  });

  it('names the file and what is wrong with it', async () => {
    await expect(readAudio(at('empty.wav'))).rejects.toThrow(`${at('empty.wav').path}: holds no sound`);
    await expect(readAudio({ path: silentClip })).rejects.toThrow(
      `${silentClip}: holds no sound: it has no audio stream`,
    );
    await expect(readAudio(at('corrupt.flac'))).rejects.toThrow(/^\S*corrupt\.flac: .*Invalid data/);
    await expect(readAudio(at('missing.wav'))).rejects.toThrow(/^\S*missing\.wav: .*No such file/);
    await expect(readAudio({ bytes: new Uint8Array(40), mime: 'audio/wav' })).rejects.toThrow(
      /^data: URI of 40 bytes \(audio\/wav\): .*Invalid data/,
    );
  });

  it('does not follow a playlist to the network', async () => {
    const path = join(scratch, 'list.m3u8');
    writeFileSync(
      path,
      '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n',
    );
    await expect(readAudio({ path })).rejects.toThrow(`${path}: `);
  });

  it('names the package where ffmpeg is not installed', async () => {
    vi.stubEnv('EYAS_FFMPEG', join(scratch, 'no-such-program'));
    await expect(readAudio(at('pcm-16-16000-1.wav'))).rejects.toThrow(
      /no-such-program was not found: .*sound.*Debian package ffmpeg.*EYAS_FFMPEG/,
    );
  });
});

describe('probeAudio', () => {
  it('reads the form', async () => {
    expect(await probeAudio(at('float-22050-2.wav'))).toEqual({
      channels: 2,
      sampleRate: 22050,
      duration: expect.closeTo(2653 / 22050, 6) as number,
    });
    expect(await probeAudio(at('surround.wav'))).toMatchObject({ channels: 6, sampleRate: 24000 });
    expect(await probeAudio(at('clip.mp4'))).toMatchObject({ channels: 2, sampleRate: 44100 });
  });

  it('fails where there is no audio stream', async () => {
    await expect(probeAudio({ path: silentClip })).rejects.toThrow(`${silentClip}: holds no sound`);
  });
});

describe('hasAudio', () => {
  it('tells whether a clip has a sound track', async () => {
    expect(await hasAudio(at('clip.mp4'))).toBe(true);
    expect(await hasAudio({ path: silentClip })).toBe(false);
  });

  it('fails for what is no clip', async () => {
    const path = join(scratch, 'text.mp4');
    writeFileSync(path, 'not a clip');
    await expect(hasAudio({ path })).rejects.toThrow(/text\.mp4: .*Invalid data/);
  });
});
