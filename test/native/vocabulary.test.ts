import { describe, expect, it } from 'vitest';
import { native, type DType } from '../../lib/native.js';
import { cast, narrow, ops, scope, tensor, toFloats, toInts, type Tensor } from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { argmaxReference, expectClose, matmulReference, softmaxReference } from '../helpers/reference.js';

// A part of a product has 256 MB there: too much for the emulation to need several.
const onGpu = process.env.EYAS_TEST_DEVICE === 'cuda';

/** The values that a product with this weight really multiplies. */
const rounded = (t: Tensor, dtype: DType): Float32Array => toFloats(cast(cast(t, dtype), 'float32'));

const rowsOf = (data: Float32Array | Float64Array, columns: number): (Float32Array | Float64Array)[] =>
  Array.from({ length: data.length / columns }, (_, i) => data.subarray(i * columns, (i + 1) * columns));

describe('argmax', () => {
  it('takes the lowest index on ties, in rows of any length', () => {
    scope(() => {
      const draws = new Draws(1);
      for (const columns of [1, 2, 15, 16, 17, 511, 512, 513, 3001]) {
        const data = Float32Array.from({ length: 7 * columns }, () => draws.int(-3, 3));
        const expected = rowsOf(data, columns).map(argmaxReference);
        expect(Array.from(toInts(ops.argmax(tensor(data, [7, columns]))))).toEqual(expected);
      }
    });
  });

  it('never picks NaN', () => {
    scope(() => {
      const data = new Float32Array(3 * 600).fill(NaN);
      data[1] = -Infinity;
      data[599] = -5;
      data[600 + 300] = 2;
      expect(Array.from(toInts(ops.argmax(tensor(data, [3, 600]))))).toEqual([599, 300, 0]);
    });
  });

  it('takes a vector, and a view', () => {
    scope(() => {
      expect(Array.from(toInts(ops.argmax(tensor(Float32Array.of(1, 3, 2), [3]))))).toEqual([1]);
      const view = narrow(tensor(Float32Array.of(9, 1, 2, 9, 4, 3), [2, 3]), 1, 1, 2);
      expect(Array.from(toInts(ops.argmax(view)))).toEqual([1, 0]);
    });
  });

  it('refuses what it cannot search', () => {
    scope(() => {
      expect(() => ops.argmax(tensor(new Float32Array(0), [2, 0]))).toThrow(
        /\[argmax\] expected at least one column/,
      );
      expect(() => ops.argmax(tensor(new Int32Array(4), [2, 2]))).toThrow(
        /float32 for x, received int32 \[2,2\]/,
      );
      expect(() => ops.argmax(tensor(new Float32Array(8), [2, 2, 2]))).toThrow(/1 or 2 dimensions for x/);
    });
  });
});

const shapes: [n: number, features: number, vocabulary: number][] = [
  [1, 32, 5],
  [5, 24, 9000],
  [16, 17, 333],
  [70, 48, 4097],
  [300, 40, 1000],
];
const dtypes: DType[] = ['float32', 'bfloat16'];
const linearCases = shapes.flatMap((shape) => dtypes.map((dtype) => ({ shape, dtype })));

function linear(shape: [number, number, number], dtype: DType, seed: number) {
  const [n, features, vocabulary] = shape;
  const draws = new Draws(seed);
  const x = tensor(draws.normals(n * features), [n, features]);
  const weight = cast(tensor(draws.normals(vocabulary * features, 0.3), [vocabulary, features]), dtype);
  const logits = matmulReference(rounded(x, dtype), rounded(weight, dtype), [n, features, vocabulary], true);
  return { x, weight, logits };
}

describe('linearArgmax', () => {
  it.each(linearCases)('equals the argmax of the product: $shape, $dtype', ({ shape, dtype }) => {
    scope(() => {
      const { x, weight, logits } = linear(shape, dtype, 2);
      const columns = shape[2];
      const picked = Array.from(toInts(ops.linearArgmax(x, weight)));
      // Sums in float32 may swap two logits that are equal to rounding.
      picked.forEach((index, i) => {
        const row = logits.subarray(i * columns, (i + 1) * columns);
        expect(row[index]).toBeGreaterThanOrEqual(row[argmaxReference(row)]! - 1e-5);
      });
    });
  });

  it('takes the lowest index across chunks of the vocabulary', () => {
    scope(() => {
      const weight = new Float32Array(9000 * 4).fill(1);
      expect(
        Array.from(
          toInts(ops.linearArgmax(tensor(Float32Array.of(1, 1, 1, 1), [1, 4]), tensor(weight, [9000, 4]))),
        ),
      ).toEqual([0]);
      weight.fill(2, 5000 * 4, 5001 * 4);
      weight.fill(2, 8999 * 4);
      expect(
        Array.from(
          toInts(ops.linearArgmax(tensor(Float32Array.of(1, 1, 1, 1), [1, 4]), tensor(weight, [9000, 4]))),
        ),
      ).toEqual([5000]);
    });
  });

  it.skipIf(onGpu)('never holds all rows by the whole vocabulary', () => {
    scope(() => {
      const [n, features, vocabulary] = [600, 8, 20000];
      const x = ops.zeros([n, features], 'float32');
      const weight = ops.zeros([vocabulary, features], 'float32');
      native.resetPeakMemory();
      const before = native.memory().liveBytes;
      ops.linearArgmax(x, weight);
      expect(native.memory().peakBytes - before).toBeLessThan((n * vocabulary * 4) / 8);
    });
  });
});

describe('linearTeacher', () => {
  it.each(linearCases)('equals argmax and softmax of the product: $shape, $dtype', ({ shape, dtype }) => {
    scope(() => {
      const { x, weight, logits } = linear(shape, dtype, 3);
      const [rows, , vocabulary] = shape;
      const draws = new Draws(4);
      const all = Array.from({ length: vocabulary }, (_, v) => v);
      for (const columns of [all, [vocabulary - 1], all.filter((v) => v > 0 && draws.uniform() < 0.3)]) {
        if (columns.length === 0) continue;
        const ids = tensor(Int32Array.from(columns), [columns.length]);
        const { argmax, probabilities } = ops.linearTeacher(x, weight, ids);
        expect(toInts(argmax)).toEqual(toInts(ops.linearArgmax(x, weight)));
        expect(probabilities.shape).toEqual([rows, columns.length]);
        const expected = rowsOf(logits, vocabulary).flatMap((row) =>
          Array.from(softmaxReference(Float64Array.from(columns, (v) => row[v]!))),
        );
        expectClose(toFloats(probabilities), expected, 1e-5, 'probabilities');
      }
    });
  });

  it('is stable for logits of any size', () => {
    scope(() => {
      const weight = tensor(Float32Array.of(1, -1, 2), [3, 1]);
      const x = tensor(Float32Array.of(1e4, -1e4), [2, 1]);
      const { probabilities } = ops.linearTeacher(x, weight, tensor(Int32Array.of(0, 1, 2), [3]));
      expect(Array.from(toFloats(probabilities))).toEqual([0, 0, 1, 0, 1, 0]);
    });
  });

  it('is empty without rows', () => {
    scope(() => {
      const weight = ops.zeros([5, 8], 'float32');
      const { argmax, probabilities } = ops.linearTeacher(
        ops.zeros([0, 8], 'float32'),
        weight,
        tensor(Int32Array.of(1, 3), [2]),
      );
      expect([argmax.shape, probabilities.shape]).toEqual([[0], [0, 2]]);
    });
  });

  it.each([
    [[], 'expected at least one of columns, received int32 [0]'],
    [[2, 2], 'expected ascending columns below 5 for columns[1], received 2'],
    [[0, 5], 'expected ascending columns below 5 for columns[1], received 5'],
    [[-1], 'expected ascending columns below 5 for columns[0], received -1'],
  ])('refuses columns %j', (columns, message) => {
    scope(() => {
      const ids = tensor(Int32Array.from(columns), [columns.length]);
      const [x, weight] = [ops.zeros([2, 8], 'float32'), ops.zeros([5, 8], 'float32')];
      expect(() => ops.linearTeacher(x, weight, ids)).toThrow(new TypeError(`[linearTeacher] ${message}`));
    });
  });
});

/** Soft cross-entropy and its gradients from the logits, in float64. */
function crossEntropyReference(
  [n, features, vocabulary]: [number, number, number],
  x: Float32Array,
  weight: Float32Array,
  logits: Float64Array,
  teacher: (row: number) => ArrayLike<number>,
  scale: number,
) {
  let loss = 0;
  const dlogits = new Float64Array(n * vocabulary);
  for (let i = 0; i < n; i++) {
    const q = softmaxReference(logits.subarray(i * vocabulary, (i + 1) * vocabulary));
    const p = teacher(i);
    let total = 0;
    for (let j = 0; j < vocabulary; j++) total += p[j]!;
    for (let j = 0; j < vocabulary; j++) {
      loss -= p[j]! * Math.log(q[j]!);
      dlogits[i * vocabulary + j] = scale * (q[j]! * total - p[j]!);
    }
  }
  const dweight = new Float64Array(vocabulary * features);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < vocabulary; j++)
      for (let c = 0; c < features; c++)
        dweight[j * features + c]! += dlogits[i * vocabulary + j]! * x[i * features + c]!;
  return { loss, dx: matmulReference(dlogits, weight, [n, vocabulary, features]), dweight };
}

describe('linearSoftCrossEntropy', () => {
  const setUp = (shape: [number, number, number], dtype: DType, unnormalised = 1) => {
    const [n, , vocabulary] = shape;
    const { x, weight, logits } = linear(shape, dtype, 4);
    const draws = new Draws(5);
    const rows = n + 3;
    const probabilities = rowsOf(draws.normals(rows * vocabulary, 3), vocabulary).flatMap((row) =>
      Array.from(softmaxReference(row), (p) => p * unnormalised),
    );
    const teacher = tensor(Float32Array.from(probabilities), [rows, vocabulary]);
    const teacherRows = tensor(
      Int32Array.from({ length: n }, () => draws.int(0, rows)),
      [n],
    );
    const [probability, named] = [rowsOf(toFloats(teacher), vocabulary), toInts(teacherRows)];
    const teacherRow = (i: number) => probability[named[i]!]!;
    return { x, weight, logits, teacher, teacherRows, teacherRow };
  };

  it.each(shapes)('float32 equals the float64 reference: %i rows, %i features, vocabulary %i', (...shape) => {
    scope(() => {
      const [n, features, vocabulary] = shape;
      const { x, weight, logits, teacher, teacherRows, teacherRow } = setUp(shape, 'float32');
      const scale = 0.125;
      const expected = crossEntropyReference(shape, toFloats(x), toFloats(weight), logits, teacherRow, scale);
      const dweight = ops.zeros([vocabulary, features], 'float32');
      const result = ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows, scale, dweight);
      expectClose([result.loss], [expected.loss], 1e-6, 'loss');
      expectClose(toFloats(result.dx), expected.dx, 1e-5, 'dx');
      expectClose(toFloats(dweight), expected.dweight, 1e-5, 'dweight');
      expect(Array.from(toInts(result.argmax))).toEqual(rowsOf(logits, vocabulary).map(argmaxReference));
      expect(result.dx.shape).toEqual([n, features]);
    });
  });

  it('bfloat16 weights: the reference to the precision of bfloat16', () => {
    scope(() => {
      const shape: [number, number, number] = [70, 48, 1001];
      const { x, weight, logits, teacher, teacherRows, teacherRow } = setUp(shape, 'bfloat16');
      const [xs, ws] = [rounded(x, 'bfloat16'), rounded(weight, 'bfloat16')];
      const expected = crossEntropyReference(shape, xs, ws, logits, teacherRow, 1);
      const dweight = ops.zeros([shape[2], shape[1]], 'float32');
      const result = ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows, 1, dweight);
      expectClose([result.loss], [expected.loss], 1e-6, 'loss');
      expectClose(toFloats(result.dx), expected.dx, 4e-3, 'dx');
      expectClose(toFloats(dweight), expected.dweight, 4e-3, 'dweight');
    });
  });

  it.each(dtypes)('equals the plain composition of matmul and softmax, %s', (dtype) => {
    scope(() => {
      const shape: [number, number, number] = [200, 32, 777];
      const { x, weight, teacher, teacherRows } = setUp(shape, dtype);
      const factor = cast(x, dtype);
      const q = ops.softmax(ops.matmul(factor, weight, { transposeB: true }));
      const p = ops.gatherRows(teacher, teacherRows);
      const dlogits = ops.add(q, p);
      dlogits.copyFrom(q);
      ops.addInPlace(dlogits, p, -1);
      const dx = ops.matmul(cast(dlogits, dtype), weight);
      const dweight = ops.matmul(cast(dlogits, dtype), factor, { transposeA: true });
      const [qs, ps] = [toFloats(q), toFloats(p)];
      const loss = qs.reduce((sum, value, i) => sum - ps[i]! * Math.log(value), 0);

      const fused = ops.zeros([shape[2], shape[1]], 'float32');
      const result = ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows, 1, fused);
      // A bfloat16 gradient may round to the neighbour where the softmax differs in its last bit.
      const tolerance = dtype === 'float32' ? 1e-5 : 4e-3;
      expectClose([result.loss], [loss], 1e-5, 'loss');
      expectClose(toFloats(result.dx), toFloats(dx), tolerance, 'dx');
      expectClose(toFloats(fused), toFloats(dweight), tolerance, 'dweight');
    });
  });

  it('is faithful to teacher rows that do not sum to one', () => {
    scope(() => {
      const shape: [number, number, number] = [9, 16, 50];
      const { x, weight, logits, teacher, teacherRows, teacherRow } = setUp(shape, 'float32', 0.7);
      const expected = crossEntropyReference(shape, toFloats(x), toFloats(weight), logits, teacherRow, 2);
      const result = ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows, 2, undefined);
      expectClose([result.loss], [expected.loss], 1e-6, 'loss');
      expectClose(toFloats(result.dx), expected.dx, 1e-5, 'dx');
    });
  });

  it('scales every row by its own factor', () => {
    scope(() => {
      const shape: [number, number, number] = [30, 8, 64];
      const { x, weight, teacher, teacherRows } = setUp(shape, 'float32');
      const scales = Float32Array.from({ length: 30 }, (_, i) => (i < 12 ? 0.5 : 2));
      const dweight = ops.zeros([64, 8], 'float32');
      const all = ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows, tensor(scales, [30]), dweight);
      const expected = ops.zeros([64, 8], 'float32');
      const parts = [
        { first: 0, count: 12, scale: 0.5 },
        { first: 12, count: 18, scale: 2 },
      ].map(({ first, count, scale }) =>
        ops.linearSoftCrossEntropy(
          narrow(x, 0, first, count),
          weight,
          teacher,
          narrow(teacherRows, 0, first, count),
          scale,
          expected,
        ),
      );
      expectClose(
        toFloats(all.dx),
        parts.flatMap(({ dx }) => [...toFloats(dx)]),
        1e-6,
        'dx',
      );
      expectClose(toFloats(dweight), toFloats(expected), 1e-6, 'dweight');
      expectClose(
        toFloats(all.losses),
        parts.flatMap(({ losses }) => [...toFloats(losses)]),
        1e-6,
        'losses',
      );
      expectClose([all.loss], [toFloats(all.losses).reduce((sum, loss) => sum + loss, 0)], 1e-6, 'loss');
    });
  });

  it.each(dtypes)('computes no gradient without a scale: %s', (dtype) => {
    scope(() => {
      const { x, weight, teacher, teacherRows } = setUp([70, 16, 100], dtype);
      const { losses, argmax, ...rest } = ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows);
      const whole = ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows, 1, undefined);
      expect(toFloats(losses)).toEqual(toFloats(whole.losses));
      expect(toInts(argmax)).toEqual(toInts(whole.argmax));
      expect(Object.keys(rest)).toEqual(['loss']);
      const call = ops.linearSoftCrossEntropy as (...args: unknown[]) => unknown;
      expect(() => call(x, weight, teacher, teacherRows, undefined, weight)).toThrow(
        '[linearSoftCrossEntropy] expected scale with dweight, received none',
      );
    });
  });

  it('overwrites dweight where it is told to', () => {
    scope(() => {
      // More rows than a chunk holds: only the first chunk overwrites.
      const [n, features, vocabulary] = [300, 8, 64000];
      const { weight, teacher } = setUp([1, features, vocabulary], 'float32');
      const rows = ops.randomNormal([n, features], 1, 9n);
      const teacherRows = ops.zeros([n], 'int32');
      const [added, overwritten] = [0, NaN].map((value) => {
        const dweight = ops.zeros([vocabulary, features], 'float32');
        dweight.fill(value);
        ops.linearSoftCrossEntropy(rows, weight, teacher, teacherRows, 1, dweight, value === 0);
        return toFloats(dweight);
      });
      expectClose(overwritten!, added!, 1e-6, 'dweight');
    });
  });

  it('adds to dweight', () => {
    scope(() => {
      const shape: [number, number, number] = [20, 8, 64];
      const { x, weight, teacher, teacherRows } = setUp(shape, 'float32');
      const once = ops.zeros([64, 8], 'float32');
      const more = tensor(new Float32Array(64 * 8).fill(3), [64, 8]);
      for (const dweight of [once, more]) {
        ops.linearSoftCrossEntropy(x, weight, teacher, teacherRows, 1, dweight);
      }
      expectClose(
        toFloats(more),
        toFloats(once).map((value) => value + 3),
        1e-6,
        'dweight',
      );
    });
  });

  it('takes no rows', () => {
    scope(() => {
      const result = ops.linearSoftCrossEntropy(
        ops.zeros([0, 8], 'float32'),
        ops.zeros([5, 8], 'float32'),
        ops.zeros([1, 5], 'float32'),
        ops.zeros([0], 'int32'),
        1,
        ops.zeros([5, 8], 'float32'),
      );
      expect(result.loss).toBe(0);
      expect(result.dx.shape).toEqual([0, 8]);
    });
  });

  it.skipIf(onGpu)('holds a part of the logits at a time and leaves nothing behind', () => {
    const before = native.memory();
    scope(() => {
      const [n, features, vocabulary] = [3000, 8, 16000];
      const teacher = ops.zeros([1, vocabulary], 'float32');
      const x = ops.zeros([n, features], 'float32');
      const weight = ops.zeros([vocabulary, features], 'float32');
      native.resetPeakMemory();
      const live = native.memory().liveBytes;
      ops.linearSoftCrossEntropy(x, weight, teacher, ops.zeros([n], 'int32'), 1, undefined);
      expect(native.memory().peakBytes - live).toBeLessThan((n * vocabulary * 4) / 4);
    });
    expect(native.memory().liveTensors).toBe(before.liveTensors);
    expect(native.memory().liveBytes).toBe(before.liveBytes);
  });

  it.each<[string, () => unknown, RegExp]>([
    [
      'weight',
      () => ops.linearArgmax(ops.zeros([2, 8], 'float32'), ops.zeros([5, 7], 'float32')),
      /\[linearArgmax\] expected shape \[-1,8\] for weight, received float32 \[5,7\]/,
    ],
    [
      'empty vocabulary',
      () => ops.linearArgmax(ops.zeros([2, 8], 'float32'), ops.zeros([0, 8], 'float32')),
      /\[linearArgmax\] expected a vocabulary in weight, received float32 \[0,8\]/,
    ],
    [
      'teacher',
      () => lossOf({ teacher: ops.zeros([3, 4], 'float32') }),
      /\[-1,5\] for teacher, received float32 \[3,4\]/,
    ],
    ['teacherRows', () => lossOf({ rows: [0, 3] }), /0 to 2, for teacherRows\[1\], received 3/],
    [
      'number of teacherRows',
      () => lossOf({ rows: [0] }),
      /shape \[2\] for teacherRows, received int32 \[1\]/,
    ],
    [
      'dweight',
      () => lossOf({ dweight: ops.zeros([8, 5], 'float32') }),
      /\[5,8\] for dweight, received float32 \[8,5\]/,
    ],
    [
      'x',
      () => lossOf({ x: ops.zeros([2, 8], 'int32') }),
      /float32 or bfloat16 for x, received int32 \[2,8\]/,
    ],
  ])('refuses by name: %s', (_, run, message) => {
    scope(() => {
      expect(run).toThrow(message);
    });
  });
});

function lossOf(changes: { x?: Tensor; teacher?: Tensor; rows?: number[]; dweight?: Tensor }): unknown {
  const rows = changes.rows ?? [0, 1];
  return ops.linearSoftCrossEntropy(
    changes.x ?? ops.zeros([2, 8], 'float32'),
    ops.zeros([5, 8], 'float32'),
    changes.teacher ?? ops.zeros([3, 5], 'float32'),
    tensor(Int32Array.from(rows), [rows.length]),
    1,
    changes.dweight,
  );
}
