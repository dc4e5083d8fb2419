import { describe, expect, it } from 'vitest';
import { type RopeOptions } from '../../lib/native.js';
import { narrow, ops, scope, tensor, toFloats, type Tensor } from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { expectClose } from '../helpers/reference.js';

const inverse = (pairs: number, base = 1e6): Float32Array =>
  Float32Array.from({ length: pairs }, (_, f) => base ** (-f / pairs));

/** cos and sin with the axis of each frequency written out. */
function expectTables(positions: number[][], axisOf: number[], options: RopeOptions): void {
  scope(() => {
    const n = positions[0]!.length;
    const frequencies = inverse(axisOf.length);
    const { cos, sin } = ops.ropeTables(
      tensor(Float32Array.from(positions.flat()), [positions.length, n]),
      tensor(frequencies, [axisOf.length]),
      options,
    );
    expect([cos.shape, sin.shape]).toEqual([
      [n, axisOf.length],
      [n, axisOf.length],
    ]);
    const { offset = 0, scaling = 1 } = options;
    const angles = positions[0]!.flatMap((_, i) =>
      axisOf.map((axis, f) => Math.fround((positions[axis]![i]! + offset) * frequencies[f]!)),
    );
    expectClose(
      toFloats(cos),
      angles.map((x) => scaling * Math.cos(x)),
      1e-7,
    );
    expectClose(
      toFloats(sin),
      angles.map((x) => scaling * Math.sin(x)),
      1e-7,
    );
  });
}

describe('ropeTables', () => {
  it('takes one axis, with an offset and a scaling', () => {
    const positions = [[0, 1, 5, 7, 100]];
    expectTables(positions, new Array<number>(16).fill(0), {});
    expectTables(positions, new Array<number>(16).fill(0), { offset: 3, scaling: 1.25 });
  });

  it('is right far out: the angle is rounded to float32, cos and sin are not off', () => {
    expectTables([[1e5, 262_143, 999_999]], new Array<number>(64).fill(0), {});
  });

  it('lays sections end to end', () => {
    const positions = [
      [0, 1, 2],
      [10, 20, 30],
      [7, 5, 3],
    ];
    expectTables(positions, [0, 0, 1, 1, 1, 2, 2, 2], { sections: [2, 3, 3] });
  });

  it('interleaves sections as Qwen3-VL does', () => {
    const positions = [
      [0, 1, 2],
      [10, 20, 30],
      [7, 5, 3],
    ];
    // [4,2,2]: axis 1 takes 1 and 4, axis 2 takes 2 and 5, axis 0 the rest.
    expectTables(positions, [0, 1, 2, 0, 1, 2, 0, 0], { sections: [4, 2, 2], interleaved: true });
    // [1,6,1]: axis 1 takes 1, 4 and 7; there are no more.
    expectTables(positions, [0, 1, 2, 0, 1, 0, 0, 1], { sections: [1, 6, 1], interleaved: true });
  });
});

/** Rotation of the complex numbers x[j] + i·x[j+F]. */
function rotate(
  x: Float32Array,
  heads: number,
  d: number,
  cos: Float32Array,
  sin: Float32Array,
  sign: number,
) {
  const out = Float64Array.from(x);
  const rows = x.length / (heads * d);
  const pairs = cos.length / rows;
  for (let i = 0; i < rows; i++)
    for (let head = 0; head < heads; head++)
      for (let j = 0; j < pairs; j++) {
        const at = (i * heads + head) * d + j;
        const [c, s] = [cos[i * pairs + j]!, sign * sin[i * pairs + j]!];
        out[at] = x[at]! * c - x[at + pairs]! * s;
        out[at + pairs] = x[at]! * s + x[at + pairs]! * c;
      }
  return out;
}

describe('rope', () => {
  const tables = (n: number, pairs: number): { cos: Tensor; sin: Tensor } =>
    ops.ropeTables(
      tensor(
        Float32Array.from({ length: n }, (_, i) => 3 * i + 1),
        [1, n],
      ),
      tensor(inverse(pairs), [pairs]),
    );

  for (const [n, heads, d, pairs] of [
    [1, 1, 2, 1],
    [5, 3, 16, 8],
    [9, 2, 22, 7],
    [200, 8, 128, 64],
  ] as const)
    it(`rotates the first ${2 * pairs} of ${d} features of [${n},${heads},${d}], and back`, () => {
      scope(() => {
        const x = tensor(new Draws(51).normals(n * heads * d), [n, heads, d]);
        const { cos, sin } = tables(n, pairs);
        const out = ops.rope(x, cos, sin);
        expect(out.shape).toEqual([n, heads, d]);
        expectClose(toFloats(out), rotate(toFloats(x), heads, d, toFloats(cos), toFloats(sin), 1), 1e-6);
        expectClose(
          toFloats(ops.rope(x, cos, sin, true)),
          rotate(toFloats(x), heads, d, toFloats(cos), toFloats(sin), -1),
          1e-6,
        );
        expectClose(toFloats(ops.rope(out, cos, sin, true)), toFloats(x), 1e-6);
      });
    });

  it('reads the heads of a fused projection in place', () => {
    scope(() => {
      const fused = tensor(new Draws(52).normals(6 * 5 * 8), [6, 5, 8]);
      const keys = narrow(fused, 1, 2, 2);
      const { cos, sin } = tables(6, 4);
      expectClose(
        toFloats(ops.rope(keys, cos, sin)),
        rotate(toFloats(keys), 2, 8, toFloats(cos), toFloats(sin), 1),
        1e-6,
      );
      const part = narrow(fused, 2, 1, 6);
      const narrowTables = tables(6, 3);
      expectClose(
        toFloats(ops.rope(part, narrowTables.cos, narrowTables.sin)),
        rotate(toFloats(part), 5, 6, toFloats(narrowTables.cos), toFloats(narrowTables.sin), 1),
        1e-6,
      );
    });
  });
});

describe('rotary ops refuse', () => {
  const zeros = (...shape: number[]): Tensor => ops.zeros(shape, 'float32');
  const cases: [() => unknown, string][] = [
    [
      () => ops.ropeTables(zeros(3, 5), zeros(8)),
      '[ropeTables] expected sections for positions of 3 axes, received none',
    ],
    [
      () => ops.ropeTables(zeros(3, 5), zeros(8), { sections: [4, 4] }),
      '[ropeTables] expected 3 sections, one an axis of positions, received 2',
    ],
    [
      () => ops.ropeTables(zeros(3, 5), zeros(8), { sections: [4, 2, 1] }),
      '[ropeTables] expected sections that sum to 8 frequencies, received 7',
    ],
    [
      () => ops.ropeTables(zeros(3, 5), zeros(8), { sections: [9, -1, 0] }),
      '[ropeTables] expected sections of 0 or more, received -1',
    ],
    [
      () => ops.ropeTables(ops.zeros([1, 5], 'int32'), zeros(8)),
      '[ropeTables] expected float32 for positions, received int32 [1,5]',
    ],
    [
      () => ops.ropeTables(zeros(1, 5), zeros(8, 1)),
      '[ropeTables] expected 1 dimensions for inverseFrequencies, received float32 [8,1]',
    ],
    [
      () => ops.rope(zeros(5, 8), zeros(5, 4), zeros(5, 4)),
      '[rope] expected 3 dimensions for x, received float32 [5,8]',
    ],
    [
      () => ops.rope(zeros(5, 2, 8), zeros(4, 4), zeros(4, 4)),
      '[rope] expected shape [5,-1] for cos, received float32 [4,4]',
    ],
    [
      () => ops.rope(zeros(5, 2, 8), zeros(5, 4), zeros(5, 3)),
      '[rope] expected shape [5,4] for sin, received float32 [5,3]',
    ],
    [
      () => ops.rope(zeros(5, 2, 8), zeros(5, 5), zeros(5, 5)),
      '[rope] expected cos with at most 4 frequencies for x float32 [5,2,8], received float32 [5,5]',
    ],
  ];
  for (const [call, message] of cases) {
    it(message, () => {
      scope(() => {
        expect(call).toThrow(new TypeError(message));
      });
    });
  }
});
