import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { native } from '../../../lib/native.js';

type Family = 'qwen2_5_omni' | 'qwen3_omni';
type Part =
  | [text: number]
  | ['image', number, number]
  | ['audio', number]
  | ['video', number, number, number, number]
  | ['heard', number, number, number, number, number[]];

/** Made by scripts/fixtures/omni_rope_index.py. */
const cases = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../fixtures/rope/omni.json', import.meta.url)), 'utf8'),
) as { family: Family; parts: Part[]; positions: number[][]; delta: number }[];

const [image, video, audio, look, seen, listen, heard] = [100, 101, 102, 103, 104, 105, 106] as const;
const rates: Partial<Record<Family, number>> = { qwen2_5_omni: 25, qwen3_omni: 13 };

function index(family: Family, parts: readonly Part[], changed: { videoGrids?: Int32Array; secondPerGrid?: Float64Array } = {}) {
  const ids: number[] = [];
  const images: number[] = [];
  const videos: number[] = [];
  const seconds: number[] = [];
  const repeat = (id: number, count: number): void => void ids.push(...Array<number>(count).fill(id));
  for (const part of parts) {
    switch (part[0]) {
      case 'image':
        images.push(1, part[1], part[2]);
        ids.push(look);
        repeat(image, (part[1] * part[2]) / 4);
        ids.push(seen);
        break;
      case 'audio':
        ids.push(listen);
        repeat(audio, part[1]);
        ids.push(heard);
        break;
      case 'video':
        ids.push(look);
        repeat(video, (part[1] * part[2] * part[3]) / 4);
        ids.push(seen);
        break;
      case 'heard':
        ids.push(look, listen);
        part[5].forEach((run, i) => {
          repeat(i % 2 === 0 ? video : audio, run);
        });
        ids.push(heard, seen);
        break;
      default:
        repeat(1, part[0]);
    }
    if (part[0] === 'video' || part[0] === 'heard') {
      videos.push(part[1], part[2], part[3]);
      seconds.push(part[4]);
    }
  }
  return native.ropeIndexOmni(Int32Array.from(ids), {
    imageTokenId: image,
    videoTokenId: video,
    audioTokenId: audio,
    visionStartTokenId: look,
    audioStartTokenId: listen,
    mergeSize: 2,
    positionsPerSecond: rates[family] ?? 13,
    imageGrids: Int32Array.from(images),
    videoGrids: Int32Array.from(videos),
    secondPerGrid: Float64Array.from(seconds),
    rule: family,
    ...changed,
  });
}

describe('ropeIndexOmni', () => {
  it.each(cases.map((entry, i) => ({ ...entry, i })))('equals transformers: $family, layout $i', (entry) => {
    const { positions, delta } = index(entry.family, entry.parts);
    expect([...positions]).toEqual(Array.from(Float32Array.from(entry.positions.flat())));
    expect(delta).toBeCloseTo(entry.delta, 4);
  });

  it('has layouts of every kind', () => {
    for (const family of ['qwen2_5_omni', 'qwen3_omni']) {
      const kinds = cases.filter((entry) => entry.family === family).flatMap(({ parts }) => parts.map(([kind]) => kind));
      expect(kinds).toEqual(expect.arrayContaining(['image', 'audio', 'video', 'heard']));
    }
  });

  it('keeps fractions for Qwen3-Omni alone', () => {
    const clip: Part[] = [['video', 2, 2, 2, 0.5]];
    expect([...index('qwen3_omni', clip).positions].slice(0, 4)).toEqual([0, 1, 7.5, 8.5]);
    expect([...index('qwen2_5_omni', clip).positions].slice(0, 4)).toEqual([0, 1, 13, 14]);
  });

  it('names what does not fit', () => {
    const clip: Part[] = [['video', 2, 2, 2, 0.5]];
    expect(() => index('qwen3_omni', clip, { videoGrids: Int32Array.of(3, 2, 2) })).toThrow(
      '[ropeIndexOmni] expected 3 placeholders for video 0, received 2',
    );
    expect(() => index('qwen3_omni', clip, { secondPerGrid: new Float64Array() })).toThrow(
      'expected 1 entries of secondPerGrid, one a video, received 0',
    );
    expect(() => index('qwen3_omni', clip, { secondPerGrid: Float64Array.of(NaN) })).toThrow('finite, positive');
    expect(() => index('other' as Family, clip)).toThrow('expected qwen2_5_omni or qwen3_omni for rule');
  });
});
