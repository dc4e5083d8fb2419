import { describe, expect, it } from 'vitest';
import { type Activation } from '../../lib/native.js';
import { narrow, ops, scope, tensor, toFloats, transpose, type Tensor } from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { expectClose } from '../helpers/reference.js';

const kinds: Activation[] = ['silu', 'gelu', 'gelu_tanh', 'quick_gelu'];

/** erf by its series, and by the continued fraction of erfc far out. */
function erf(x: number): number {
  const a = Math.abs(x);
  let value = 0;
  if (a < 3) {
    let term = a;
    for (let k = 0; k < 100; k++) {
      value += term / (2 * k + 1);
      term *= (-a * a) / (k + 1);
    }
    value *= 2 / Math.sqrt(Math.PI);
  } else {
    let fraction = 0;
    for (let k = 60; k >= 1; k--) fraction = k / 2 / (a + fraction);
    value = 1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction);
  }
  return Math.sign(x) * value;
}

const activate: Record<Activation, (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  quick_gelu: (x) => x / (1 + Math.exp(-1.702 * x)),
};

const slope = (kind: Activation, x: number): number =>
  (activate[kind](x + 1e-5) - activate[kind](x - 1e-5)) / 2e-5;

// Sizes around the vector width, and one that is worth several threads.
const sizes = [1, 15, 16, 17, 1000, 200_003];

describe('arithmetic', () => {
  it('adds, multiplies, scales and adds in place', () => {
    for (const n of sizes) {
      scope(() => {
        const draws = new Draws(n);
        const a = tensor(draws.normals(n), [n]);
        const b = tensor(draws.normals(n), [n]);
        const [x, y] = [toFloats(a), toFloats(b)];
        expect(toFloats(ops.add(a, b))).toEqual(x.map((v, i) => v + y[i]!));
        expect(toFloats(ops.mul(a, b))).toEqual(x.map((v, i) => v * y[i]!));
        ops.addInPlace(a, b);
        expect(toFloats(a)).toEqual(x.map((v, i) => v + y[i]!));
        ops.addInPlace(a, b, -1.5);
        expectClose(
          toFloats(a),
          x.map((v, i) => v - 0.5 * y[i]!),
          1e-6,
        );
        ops.scaleInPlace(b, 0.25);
        expect(toFloats(b)).toEqual(y.map((v) => v * 0.25));
      });
    }
  });

  it.each([
    [[3], 5],
    [[2, 3], 7],
    [[1500], 400],
  ])('mul multiplies every row of [%j, %i] by a vector', (leading, width) => {
    scope(() => {
      const rows = leading.reduce((product, n) => product * n, 1);
      const x = Float32Array.from({ length: rows * width }, (_, i) => ((i * 7) % 31) - 11);
      const scale = Float32Array.from({ length: width }, (_, i) => (i % 5) / 4 - 0.5);
      const out = ops.mul(tensor(x, [...leading, width]), tensor(scale, [width]));
      expect(out.shape).toEqual([...leading, width]);
      expect(toFloats(out)).toEqual(x.map((v, i) => v * scale[i % width]!));
    });
  });

  it('takes views, and operands that are the target', () => {
    scope(() => {
      const m = tensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
      expect([...toFloats(ops.add(m, transpose(m, 0, 1)))]).toEqual([2, 5, 5, 8]);
      expect([...toFloats(ops.mul(m, transpose(m, 0, 1)))]).toEqual([1, 6, 6, 16]);
      const v = tensor(
        Float32Array.from({ length: 100 }, (_, i) => i),
        [100],
      );
      ops.addInPlace(narrow(v, 0, 1, 99), narrow(v, 0, 0, 99));
      expect([...toFloats(v)]).toEqual(Array.from({ length: 100 }, (_, i) => (i === 0 ? 0 : 2 * i - 1)));
      ops.addInPlace(v, v);
      expect(toFloats(v)[99]).toBe(394);
    });
  });
});

describe('activation', () => {
  const points = Float32Array.from({ length: 24_001 }, (_, i) => (i - 12_000) / 1000);

  for (const kind of kinds)
    it(`${kind} is right to float32`, () => {
      scope(() => {
        const y = toFloats(ops.activation(tensor(points, [points.length]), kind));
        // In units of the last place of the result, or of 1e-7 where it vanishes.
        points.forEach((x, i) => {
          const expected = activate[kind](x);
          expect(Math.abs(y[i]! - expected)).toBeLessThanOrEqual(3e-7 * Math.abs(expected) + 5e-7);
        });
        const [nan, large, zero] = toFloats(ops.activation(tensor(Float32Array.of(NaN, 1e4, 0), [3]), kind));
        expect([nan, large, zero]).toEqual([NaN, 1e4, 0]);
        expect(Math.abs(toFloats(ops.activation(tensor(Float32Array.of(-1e4), [1]), kind))[0]!)).toBe(0);
      });
    });

  it('does not lose precision in the tail of silu', () => {
    scope(() => {
      const x = Float32Array.of(-20, -50, -80, -87);
      const y = toFloats(ops.activation(tensor(x, [4]), 'silu'));
      x.forEach((v, i) => {
        expect(Math.abs(y[i]! / activate.silu(v) - 1)).toBeLessThan(1e-6);
      });
    });
  });
});

describe('gatedActivation', () => {
  for (const kind of kinds)
    for (const [rows, width] of [
      [1, 7],
      [5, 33],
      [64, 700],
    ] as const)
      it(`${kind} on [${rows},${width}], and its gradient`, () => {
        scope(() => {
          const draws = new Draws(31);
          // Halves of one fused projection, as the layers use it.
          const fused = tensor(draws.normals(rows * 2 * width, 2), [rows, 2 * width]);
          const gate = narrow(fused, 1, 0, width);
          const up = narrow(fused, 1, width, width);
          const dy = tensor(draws.normals(rows * width), [rows, width]);
          const [g, u, d] = [gate, up, dy].map((t) => toFloats(t)) as [
            Float32Array,
            Float32Array,
            Float32Array,
          ];

          expectClose(
            toFloats(ops.gatedActivation(gate, up, kind)),
            g.map((x, i) => activate[kind](x) * u[i]!),
            1e-6,
          );
          const { dgate, dup } = ops.gatedActivationBackward(dy, gate, up, kind);
          expectClose(
            toFloats(dgate),
            Float64Array.from(g, (x, i) => d[i]! * u[i]! * slope(kind, x)),
            1e-6,
          );
          expectClose(
            toFloats(dup),
            Float64Array.from(g, (x, i) => d[i]! * activate[kind](x)),
            1e-6,
          );
          const both = ops.zeros([rows, 2 * width], 'float32');
          ops.gatedActivationBackward(dy, gate, up, kind, both);
          expect(toFloats(narrow(both, 1, 0, width))).toEqual(toFloats(dgate));
          expect(toFloats(narrow(both, 1, width, width))).toEqual(toFloats(dup));
        });
      });

  it('takes any rank', () => {
    scope(() => {
      const x = tensor(new Draws(32).normals(24), [2, 3, 4]);
      const flat = toFloats(x);
      const out = ops.gatedActivation(x, transpose(transpose(x, 0, 1), 0, 1), 'silu');
      expect(out.shape).toEqual([2, 3, 4]);
      expectClose(
        toFloats(out),
        flat.map((v) => activate.silu(v) * v),
        1e-6,
      );
    });
  });
});

describe('elementwise ops refuse', () => {
  const zeros = (...shape: number[]): Tensor => ops.zeros(shape, 'float32');
  const cases: [() => unknown, string][] = [
    [() => ops.add(zeros(2), zeros(3)), '[add] expected shape [2] for b, received float32 [3]'],
    [
      () => ops.add(ops.zeros([2], 'bfloat16'), zeros(2)),
      '[add] expected float32 for a, received bfloat16 [2]',
    ],
    [() => ops.mul(zeros(2, 1), zeros(2)), '[mul] expected shape [2,1] or [1] for b, received float32 [2]'],
    [
      () => {
        ops.addInPlace(transpose(zeros(2, 3), 0, 1), zeros(3, 2));
      },
      '[addInPlace] expected a contiguous tensor for a, received float32 [3,2] with strides [1,3]',
    ],
    [
      () => {
        ops.addInPlace(zeros(2), zeros(2), '1' as unknown as number);
      },
      "[addInPlace] expected a number for alpha, received '1'",
    ],
    [
      () => {
        ops.scaleInPlace(ops.zeros([2], 'int32'), 1);
      },
      '[scaleInPlace] expected float32 for a, received int32 [2]',
    ],
    [
      () => ops.activation(zeros(2), 'relu' as Activation),
      "[activation] expected silu, gelu, gelu_tanh or quick_gelu for kind, received 'relu'",
    ],
    [
      () => ops.gatedActivation(zeros(2, 3), zeros(2, 4), 'silu'),
      '[gatedActivation] expected shape [2,3] for up, received float32 [2,4]',
    ],
    [
      () => ops.gatedActivationBackward(zeros(2), zeros(2, 3), zeros(2, 3), 'silu'),
      '[gatedActivationBackward] expected shape [2,3] for dy, received float32 [2]',
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
