import { describe, expect, it } from 'vitest';
import {
  cast,
  clone,
  narrow,
  ops,
  scope,
  tensor,
  toFloats,
  transpose,
  type Tensor,
} from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { expectClose, expectSameBits, softmaxReference } from '../helpers/reference.js';

const EPS = 1e-5;
const shapes: [n: number, h: number][] = [
  [1, 1],
  [3, 17],
  [7, 192],
  [300, 257],
];

const mean = (x: Float64Array): number => x.reduce((sum, v) => sum + v, 0) / x.length;
const rowsOf = (x: Float32Array, h: number): Float64Array[] =>
  Array.from({ length: x.length / h }, (_, i) => Float64Array.from(x.subarray(i * h, (i + 1) * h)));
const concat = (rows: Float64Array[]): Float64Array => Float64Array.from(rows.flatMap((row) => [...row]));

/** A row divided by its root mean square, or by its standard deviation about its mean. */
function normalised(x: Float64Array, centred: boolean): Float64Array {
  const shift = centred ? mean(x) : 0;
  const scale = 1 / Math.sqrt(mean(x.map((v) => (v - shift) ** 2)) + EPS);
  return x.map((v) => (v - shift) * scale);
}

/** Gradient by central differences in float64. */
function gradient(x: Float64Array, f: (x: Float64Array) => number): Float64Array {
  return x.map((v, i) => {
    const step = 1e-5;
    const moved = (to: number): number => f(x.with(i, to));
    return (moved(v + step) - moved(v - step)) / (2 * step);
  });
}

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, v, i) => sum + v * b[i]!, 0);

for (const op of ['rmsNorm', 'layerNorm'] as const) {
  const centred = op === 'layerNorm';
  const forward = (x: Tensor, w: Tensor, b?: Tensor): Tensor =>
    centred ? ops.layerNorm(x, w, b, EPS) : ops.rmsNorm(x, w, EPS);

  describe(op, () => {
    for (const [n, h] of shapes)
      for (const dtype of ['float32', 'bfloat16'] as const)
        it(`equals its definition on [${n},${h}] with ${dtype} weights`, () => {
          scope(() => {
            const draws = new Draws(41);
            const x = tensor(draws.normals(n * h, 3), [n, h]);
            const w = cast(tensor(draws.normals(h), [h]), dtype);
            const b = centred ? cast(tensor(draws.normals(h), [h]), dtype) : undefined;
            const weight = toFloats(cast(w, 'float32'));
            const bias = b ? toFloats(cast(b, 'float32')) : undefined;
            const expected = rowsOf(toFloats(x), h).map((row) =>
              normalised(row, centred).map((z, i) => z * weight[i]! + (bias?.[i] ?? 0)),
            );
            expectClose(toFloats(forward(x, w, b)), concat(expected), 1e-6);
          });
        });

    it('takes views and any rank', () => {
      scope(() => {
        const draws = new Draws(42);
        const x = narrow(tensor(draws.normals(4 * 3 * 20), [4, 3, 20]), 2, 5, 9);
        const w = tensor(draws.normals(9), [9]);
        const expected = rowsOf(toFloats(x), 9).map((row) =>
          normalised(row, centred).map((z, i) => z * toFloats(w)[i]!),
        );
        const out = forward(transpose(x, 0, 1), w);
        expect(out.shape).toEqual([3, 4, 9]);
        expectClose(toFloats(transpose(out, 0, 1)), concat(expected), 1e-6);
      });
    });

    it('has the gradient of finite differences and adds to those of its weights', () => {
      for (const [n, h] of [
        [3, 17],
        [60, 40],
      ] as const) {
        scope(() => {
          const draws = new Draws(43);
          const [x, dy] = [0, 1].map(() => tensor(draws.normals(n * h), [n, h])) as [Tensor, Tensor];
          const [w, dw, db] = [0, 1, 2].map(() => tensor(draws.normals(h), [h])) as [Tensor, Tensor, Tensor];
          const [weight, dwBefore, dbBefore] = [toFloats(w), toFloats(dw), toFloats(db)];
          const dx = centred
            ? ops.layerNormBackward(dy, x, w, EPS, dw, db)
            : ops.rmsNormBackward(dy, x, w, EPS, dw);

          const rows = rowsOf(toFloats(x), h);
          const upstream = rowsOf(toFloats(dy), h);
          const expected = rows.map((row, i) =>
            gradient(row, (moved) =>
              dot(
                normalised(moved, centred).map((z, j) => z * weight[j]!),
                upstream[i]!,
              ),
            ),
          );
          expectClose(toFloats(dx), concat(expected), 1e-5, 'dx');
          const dweight = Float64Array.from(dwBefore);
          const dbias = Float64Array.from(dbBefore);
          rows.forEach((row, i) => {
            normalised(row, centred).forEach((z, j) => {
              dweight[j]! += z * upstream[i]![j]!;
              dbias[j]! += upstream[i]![j]!;
            });
          });
          expectClose(toFloats(dw), dweight, 1e-5, 'dweight');
          if (centred) expectClose(toFloats(db), dbias, 1e-5, 'dbias');

          const alone = centred
            ? ops.layerNormBackward(dy, x, w, EPS, undefined, undefined)
            : ops.rmsNormBackward(dy, x, w, EPS, undefined);
          expectSameBits(toFloats(alone), toFloats(dx), 'gradients without those of the weights');
        });
      }
    });

    it('sums the gradients of its weights in the same order every time', () => {
      scope(() => {
        const draws = new Draws(44);
        const [n, h] = [2000, 100];
        const [x, dy] = [0, 1].map(() => tensor(draws.normals(n * h), [n, h])) as [Tensor, Tensor];
        const w = tensor(draws.normals(h), [h]);
        const runs = [0, 1, 2].map(() => {
          const dw = ops.zeros([h], 'float32');
          if (centred) ops.layerNormBackward(dy, x, w, EPS, dw, undefined);
          else ops.rmsNormBackward(dy, x, w, EPS, dw);
          return toFloats(dw);
        });
        expectSameBits(runs[1]!, runs[0]!);
        expectSameBits(runs[2]!, runs[0]!);
      });
    });
  });
}

describe('a norm in front of a product', () => {
  it('without a weight is that with ones', () => {
    scope(() => {
      const x = tensor(new Draws(46).normals(7 * 33), [7, 33]);
      const ones = ops.zeros([33], 'float32');
      ones.fill(1);
      expectSameBits(toFloats(ops.rmsNorm(x, undefined, EPS)), toFloats(ops.rmsNorm(x, ones, EPS)));
    });
  });

  it.each(['float32', 'bfloat16'] as const)(
    'has the gradients of both weights in one product, %s weights',
    (dtype) => {
      scope(() => {
        const draws = new Draws(47);
        const [rows, outputs, h] = [40, 23, 37];
        const random = (...shape: [number, number]) => tensor(draws.normals(shape[0] * shape[1]), shape);
        const [x, dy] = [random(rows, h), random(rows, outputs)];
        // Columns of a wider matrix.
        const weight = narrow(cast(random(outputs, 2 * h), dtype), 1, h, h);
        const dweight = narrow(random(outputs, 2 * h), 1, h, h);
        const norm = tensor(draws.normals(h), [h]);
        const dnorm = tensor(draws.normals(h), [h]);
        const normed = ops.rmsNorm(x, norm, EPS);
        const expectedWeight = ops.add(clone(dweight), ops.matmul(dy, normed, { transposeA: true }));
        const expectedNorm = clone(dnorm);
        ops.rmsNormBackward(ops.matmul(dy, cast(weight, 'float32')), x, norm, EPS, expectedNorm);

        const g = ops.matmul(dy, ops.rmsNorm(x, undefined, EPS), { transposeA: true });
        ops.foldedNormBackward(g, weight, norm, dweight, dnorm);
        expectClose(toFloats(dweight), toFloats(expectedWeight), 1e-5, 'dweight');
        expectClose(toFloats(dnorm), toFloats(expectedNorm), 1e-5, 'dnorm');
      });
    },
  );
});

describe('softmax', () => {
  for (const [n, h] of shapes)
    it(`and its gradient equal their definitions on [${n},${h}]`, () => {
      scope(() => {
        const draws = new Draws(45);
        const x = tensor(draws.normals(n * h, 5), [n, h]);
        const dy = tensor(draws.normals(n * h), [n, h]);
        const y = ops.softmax(x);
        const expected = rowsOf(toFloats(x), h).map(softmaxReference);
        expectClose(toFloats(y), concat(expected), 1e-6);
        const upstream = rowsOf(toFloats(dy), h);
        const dx = expected.map((p, i) => p.map((v, j) => v * (upstream[i]![j]! - dot(p, upstream[i]!))));
        expectClose(toFloats(ops.softmaxBackward(dy, y)), h === 1 ? new Float64Array(n) : concat(dx), 1e-5);
      });
    });

  it('survives large values and masks with −Infinity', () => {
    scope(() => {
      const x = tensor(Float32Array.of(1e30, 1e30, -Infinity, 500, 400, -Infinity), [2, 3]);
      const y = toFloats(ops.softmax(x));
      expect([...y.slice(0, 3)]).toEqual([0.5, 0.5, 0]);
      expect(y[3]).toBe(1);
      expect(y[4]).toBeLessThan(1e-42);
      expect(y[5]).toBe(0);
      const broken = toFloats(ops.softmax(tensor(Float32Array.of(1, NaN, 2), [1, 3])));
      expect([...broken]).toEqual([NaN, NaN, NaN]);
    });
  });
});

describe('norms refuse', () => {
  const zeros = (...shape: number[]): Tensor => ops.zeros(shape, 'float32');
  const cases: [() => unknown, string][] = [
    [
      () => ops.rmsNorm(zeros(2, 3), zeros(4), EPS),
      '[rmsNorm] expected shape [3] for weight, received float32 [4]',
    ],
    [
      () => ops.rmsNorm(ops.zeros([2, 3], 'bfloat16'), zeros(3), EPS),
      '[rmsNorm] expected float32 for x, received bfloat16 [2,3]',
    ],
    [
      () => ops.rmsNorm(zeros(), zeros(1), EPS),
      '[rmsNorm] expected 1 dimension or more for x, received float32 []',
    ],
    [
      () => ops.rmsNormBackward(zeros(3, 3), zeros(2, 3), zeros(3), EPS, undefined),
      '[rmsNormBackward] expected shape [2,3] for dy, received float32 [3,3]',
    ],
    [
      () => ops.rmsNormBackward(zeros(2, 3), zeros(2, 3), zeros(3), EPS, ops.zeros([3], 'bfloat16')),
      '[rmsNormBackward] expected float32 for dweight, received bfloat16 [3]',
    ],
    [
      () => ops.layerNorm(zeros(2, 3), ops.zeros([3], 'int32'), undefined, EPS),
      '[layerNorm] expected float32 or bfloat16 for weight, received int32 [3]',
    ],
    [
      () => ops.layerNorm(zeros(2, 3), zeros(3), zeros(2), EPS),
      '[layerNorm] expected shape [3] for bias, received float32 [2]',
    ],
    [
      () => ops.layerNormBackward(zeros(2, 3), zeros(2, 3), zeros(3), EPS, undefined, zeros(2)),
      '[layerNormBackward] expected shape [3] for dbias, received float32 [2]',
    ],
    [() => ops.softmax(ops.zeros([2], 'int32')), '[softmax] expected float32 for x, received int32 [2]'],
    [
      () => ops.softmaxBackward(zeros(2), zeros(3)),
      '[softmaxBackward] expected shape [3] for dy, received float32 [2]',
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
