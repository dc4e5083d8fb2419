import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { native } from '../../lib/native.js';

type Part =
  | [count: number]
  | [kind: 'image', t: number, h: number, w: number]
  | [kind: 'video', t: number, h: number, w: number, seconds: number];

interface Expected {
  positions: number[][];
  delta: number;
}

interface Case {
  layout: Part[];
  tokens_per_second: number;
  transformers5: Expected;
  engines: Expected;
}

const cases = JSON.parse(
  readFileSync(new URL('../fixtures/rope/qwen_vl.json', import.meta.url), 'utf8'),
) as Case[];

const imageTokenId = 7;
const videoTokenId = 8;

function build(layout: readonly Part[], tokensPerSecond: number, positionRule: 'engines' | 'transformers5') {
  const ids: number[] = [];
  const imageGrids: number[] = [];
  const videoGrids: number[] = [];
  const seconds: number[] = [];
  for (const part of layout) {
    if (part.length === 1) {
      ids.push(...Array.from({ length: part[0] }, (_, i) => 100 + i));
      continue;
    }
    const [kind, t, h, w] = part;
    (kind === 'image' ? imageGrids : videoGrids).push(t, h, w);
    if (part[0] === 'video') seconds.push(part[4]);
    const id = kind === 'image' ? imageTokenId : videoTokenId;
    ids.push(...new Array<number>((t * h * w) / 4).fill(id));
  }
  const options = {
    imageTokenId,
    videoTokenId,
    mergeSize: 2,
    tokensPerSecond,
    imageGrids: Int32Array.from(imageGrids),
    videoGrids: Int32Array.from(videoGrids),
    secondPerGrid: Float64Array.from(seconds),
    positionRule,
  };
  return { ids: Int32Array.from(ids), options };
}

describe('ropeIndexQwenVL', () => {
  it.each(cases.map((value, i) => [i, value] as const))('layout %i equals the oracles', (_, value) => {
    for (const rule of ['transformers5', 'engines'] as const) {
      const { ids, options } = build(value.layout, value.tokens_per_second, rule);
      const { positions, delta } = native.ropeIndexQwenVL(ids, options);
      expect([...positions]).toEqual(value[rule].positions.flat());
      expect(delta).toBe(value[rule].delta);
    }
  });

  it('numbers text from zero, and nothing at all', () => {
    const { ids, options } = build([[3]], 2, 'engines');
    expect(native.ropeIndexQwenVL(ids, options)).toEqual({
      positions: Float32Array.of(0, 1, 2, 0, 1, 2, 0, 1, 2),
      delta: 0,
    });
    expect(native.ropeIndexQwenVL(new Int32Array(0), options)).toEqual({
      positions: new Float32Array(0),
      delta: 0,
    });
  });

  it('checks placeholders against grids', () => {
    const { ids, options } = build([[1], ['image', 1, 4, 4], [1], ['image', 1, 2, 4], [1]], 2, 'engines');
    const call =
      (changes: object, of = ids) =>
      () =>
        native.ropeIndexQwenVL(of, { ...options, ...changes });
    expect(call({ imageGrids: Int32Array.of(1, 4, 4, 1, 4, 4) })).toThrow(
      '[ropeIndexQwenVL] expected 4 placeholders for image 1, received 2',
    );
    expect(call({ imageGrids: Int32Array.of(1, 4, 4) })).toThrow(/expected 1 runs of image placeholders/);
    expect(call({ imageGrids: Int32Array.of(1, 4, 4, 1, 2, 4, 1, 2, 2) })).toThrow(
      /expected 3 runs of image placeholders, received 2/,
    );
    expect(call({ imageGrids: Int32Array.of(1, 4, 3, 1, 2, 4) })).toThrow(
      /multiples of 2 for image 0, received \[1,4,3\]/,
    );
    expect(call({ imageGrids: Int32Array.of(1, 4) })).toThrow(/triples for imageGrids, received 2 numbers/);
    expect(call({ videoGrids: Int32Array.of(1, 2, 2) })).toThrow(/expected 1 entries of secondPerGrid/);
    expect(call({ videoGrids: Int32Array.of(1, 2, 2), secondPerGrid: Float64Array.of(NaN) })).toThrow(
      /secondPerGrid/,
    );
    expect(call({ videoGrids: Int32Array.of(1, 2, 2), secondPerGrid: Float64Array.of(1) })).toThrow(
      /expected 1 runs of video placeholders, received 0/,
    );
    expect(call({ mergeSize: 0 })).toThrow(/positive mergeSize, received 0/);
    expect(call({ positionRule: 'newest' })).toThrow(
      /engines or transformers5 for positionRule, received 'newest'/,
    );
    expect(call({ imageGrids: Int32Array.of(2 ** 30, 2 ** 30, 2 ** 30, 1, 2, 4) })).toThrow(/image 0/);
  });
});
