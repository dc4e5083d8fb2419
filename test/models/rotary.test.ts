import { describe, expect, it, onTestFinished } from 'vitest';
import { inverseFrequencies, Rotary } from '../../lib/models/rotary.js';
import type { RotaryConfig } from '../../lib/models/target.js';
import { scope, tensor, toFloats } from '../../lib/tensor.js';
import { relativeError } from '../helpers/reference.js';

const plain: RotaryConfig = { theta: 500000, headDim: 32, partialRotaryFactor: 1 };

/** Frequencies 1, 4, 7, 10 and 13 of `ROPE_INIT_FUNCTIONS` in transformers 5.18, and its attention factor. */
const published: [Record<string, unknown>, number[], number][] = [
  [
    { rope_type: 'linear', factor: 4 },
    [0.11009165644645691, 0.009401507675647736, 0.0008028615266084671, 6.856204709038138e-5, 5.854999471921474e-6],
    1,
  ],
  [
    {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
    [0.44036662578582764, 0.03760603070259094, 0.0032114461064338684, 3.428102354519069e-5, 2.927499735960737e-6],
    1,
  ],
  [
    { type: 'yarn', factor: 4, original_max_position_embeddings: 4096 },
    [0.44036662578582764, 0.03196512535214424, 0.00128457834944129, 6.856204709038138e-5, 5.854999471921474e-6],
    1.138629436111989,
  ],
  [
    {
      rope_type: 'yarn',
      factor: 40,
      original_max_position_embeddings: 4096,
      mscale: 1,
      mscale_all_dim: 0.5,
      beta_fast: 16,
      beta_slow: 2,
      truncate: false,
    },
    [0.44036662578582764, 0.03760603070259094, 0.00014911162725184113, 6.856204436189728e-6, 5.855000040355662e-7],
    1.1557219901962608,
  ],
];

describe('inverse frequencies', () => {
  it('are powers of theta over the rotated part of the head', () => {
    const frequencies = inverseFrequencies({ ...plain, theta: 10000, partialRotaryFactor: 0.25 });
    expect(relativeError(frequencies, [1, 0.1, 0.01, 0.001])).toBeLessThan(1e-7);
  });

  it.each(published)('%j are those of transformers', (scaling, expected, attentionFactor) => {
    const frequencies = inverseFrequencies({ ...plain, scaling });
    [1, 4, 7, 10, 13].forEach((j, i) => {
      expect(frequencies[j]! / expected[i]!).toBeCloseTo(1, 5);
    });
    const rotary = new Rotary({ ...plain, scaling });
    onTestFinished(() => {
      rotary.dispose();
    });
    const cos = scope(() => toFloats(rotary.tables(tensor(Float32Array.of(0), [1, 1])).cos));
    expect(cos[0]).toBeCloseTo(attentionFactor, 6);
  });

  it('refuse what they do not know', () => {
    expect(() => inverseFrequencies({ ...plain, scaling: { rope_type: 'longrope' } })).toThrow(
      'expected one of default, mrope, dynamic, linear, llama3, yarn, received longrope',
    );
    expect(() => inverseFrequencies({ ...plain, scaling: { rope_type: 'linear', factor: '4' } })).toThrow(
      'rope scaling linear: factor: expected a number, received "4"',
    );
  });
});

describe('tables', () => {
  const config: RotaryConfig = { theta: 100, headDim: 12, partialRotaryFactor: 1, mropeSection: [2, 2, 2] };
  const angles = (rotary: Rotary, positions: number[][], offset = 0): number[] =>
    scope(() => {
      const flat = Float32Array.from(positions.flat());
      const { cos, sin } = rotary.tables(tensor(flat, [positions.length, positions[0]!.length]), offset);
      const sines = toFloats(sin);
      return Array.from(toFloats(cos), (c, i) => Math.atan2(sines[i]!, c));
    });
  const open = (rotaryConfig: RotaryConfig): Rotary => {
    const rotary = new Rotary(rotaryConfig);
    onTestFinished(() => {
      rotary.dispose();
    });
    return rotary;
  };
  const frequencies = inverseFrequencies(config);

  it('take each section of frequencies from its axis', () => {
    const result = angles(open(config), [[1], [2], [3]], -1);
    [0, 0, 1, 1, 2, 2].forEach((position, j) => {
      expect(result[j]).toBeCloseTo(position * frequencies[j]!, 5);
    });
  });

  it('take interleaved frequencies in turn', () => {
    const result = angles(open({ ...config, mropeInterleaved: true }), [[0], [1], [2]]);
    [0, 1, 2, 0, 1, 2].forEach((position, j) => {
      expect(result[j]).toBeCloseTo(position * frequencies[j]!, 5);
    });
  });

  it('with one axis are those of equal axes', () => {
    const rotary = open(config);
    expect(angles(rotary, [[2, 3]])).toEqual(
      angles(rotary, [
        [2, 3],
        [2, 3],
        [2, 3],
      ]),
    );
  });

  it('refuse sections that do not add up', () => {
    expect(() => new Rotary({ ...config, mropeSection: [2, 2, 1] })).toThrow('mrope_section: expected a sum of 6, received 5');
  });
});
