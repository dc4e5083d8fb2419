import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { probeVideo, readFrames } from '../../lib/media/video.js';

const fixtures = fileURLToPath(new URL('../fixtures/qwen2_5_vl_processor/', import.meta.url));
const clip = { path: join(fixtures, 'long.mp4') };
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'eyas-video-test-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true });
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('probeVideo', () => {
  it('counts frames', async () => {
    expect(await probeVideo(clip)).toEqual({ frames: 130, fps: 25, duration: 5.2, width: 60, height: 58 });
  });

  it('names the file and what is wrong with it', async () => {
    const missing = join(scratch, 'missing.mp4');
    await expect(probeVideo({ path: missing })).rejects.toThrow(`${missing}: `);
    const text = join(scratch, 'text.mp4');
    writeFileSync(text, 'not a clip');
    await expect(probeVideo({ path: text })).rejects.toThrow(/text\.mp4: .*Invalid data/);
    const bytes = new TextEncoder().encode('not a clip');
    await expect(probeVideo({ bytes, mime: 'video/mp4' })).rejects.toThrow(
      /^data: URI of 10 bytes \(video\/mp4\): /,
    );
  });

  it('does not follow a playlist to the network', async () => {
    const playlist = join(scratch, 'list.m3u8');
    writeFileSync(
      playlist,
      '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n',
    );
    await expect(probeVideo({ path: playlist })).rejects.toThrow(/list\.m3u8: /);
  });
});

describe('readFrames', () => {
  it('gives the frames asked for, whichever others are', async () => {
    const info = await probeVideo(clip);
    const hashes = async (indices: number[]): Promise<string[]> => {
      const frames: string[] = [];
      await readFrames(clip, info, indices, (frame, i) => {
        expect(i).toBe(frames.length);
        expect(frame.length).toBe(60 * 58 * 3);
        frames.push(sha256(frame));
      });
      return frames;
    };
    const all = await hashes(Array.from({ length: 130 }, (_, i) => i));
    expect(new Set(all).size).toBeGreaterThan(20); // the square moves
    expect(await hashes([0, 13, 64, 129])).toEqual([all[0], all[13], all[64], all[129]]);
  });

  it('fails where a frame is missing or a callback throws', async () => {
    const info = await probeVideo(clip);
    await expect(readFrames(clip, info, [128, 129, 130], () => undefined)).rejects.toThrow(
      `${clip.path}: expected 3 frames, decoded 2`,
    );
    await expect(
      readFrames(clip, info, [0, 1], () => {
        throw new Error('full');
      }),
    ).rejects.toThrow(`${clip.path}: full`);
  });

  it('fails for a clip cut short', async () => {
    const path = join(scratch, 'short.mp4');
    const whole = readFileSync(clip.path);
    writeFileSync(path, whole.subarray(0, whole.length / 2));
    await expect(probeVideo({ path })).rejects.toThrow(`${path}: `);
  });
});

describe('the programs', () => {
  it('names the package where they are not installed', async () => {
    vi.stubEnv('EYAS_FFPROBE', join(scratch, 'no-such-program'));
    await expect(probeVideo(clip)).rejects.toThrow(
      /no-such-program was not found: .*Debian package ffmpeg.*EYAS_FFPROBE/,
    );
  });

  it('are those of the environment, and their last line is the reason', async () => {
    const program = join(scratch, 'ffmpeg');
    writeFileSync(program, '#!/bin/sh\necho first >&2\necho "the last line" >&2\nexit 3\n');
    chmodSync(program, 0o755);
    const info = await probeVideo(clip);
    vi.stubEnv('EYAS_FFMPEG', program);
    await expect(readFrames(clip, info, [0], () => undefined)).rejects.toThrow(`${clip.path}: the last line`);
  });
});
