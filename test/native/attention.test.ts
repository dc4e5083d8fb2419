import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { native, packageRoot, type AttentionOptions } from '../../lib/native.js';
import {
  clone,
  dispose,
  narrow,
  ops,
  scope,
  tensor,
  toFloats,
  transpose,
  type Tensor,
} from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import {
  attentionReference,
  expectClose,
  expectSameBits,
  type ReferenceAttentionResult,
} from '../helpers/reference.js';

const onCuda = process.env['EYAS_TEST_DEVICE'] === 'cuda';

type Ranges = (n: number, m: number, draws: Draws) => [begin: number, end: number][];

const causal: Ranges = (n, m) => Array.from({ length: n }, (_, i) => [0, m - n + i + 1]);
const full: Ranges = (n, m) => Array.from({ length: n }, () => [0, m]);
const windows: Ranges = (n, m) =>
  Array.from({ length: n }, (_, i) => [Math.max(0, i - 21), Math.min(m, i + 3)]);
/** Sequences of 1 to 40 rows packed end to end, each causal in itself. */
const packed: Ranges = (n, _, draws) => {
  const ranges: [number, number][] = [];
  for (let start = 0; start < n;) {
    const length = Math.min(n - start, draws.int(1, 41));
    for (let i = 0; i < length; i++) ranges.push([start, start + i + 1]);
    start += length;
  }
  return ranges;
};
/** As `packed`, but the first row sees keys from `first` on: ranges begin and end at odd keys. */
const packedFrom =
  (first: number): Ranges =>
  (n, m, draws) =>
    packed(n, m, draws).map(([begin, end]) => [begin + first, Math.min(m, end + first)]);
/** Any bounds: about half of the ranges are empty. */
const scattered: Ranges = (n, m, draws) =>
  Array.from({ length: n }, () => [draws.int(0, m + 1), draws.int(0, m + 1)]);

interface Case {
  name: string;
  n: number;
  m: number;
  heads: number;
  kvHeads: number;
  d: number;
  ranges: Ranges;
  extras: number;
  seed: number;
}

const cases: Case[] = [
  { name: 'causal', n: 50, m: 50, heads: 4, kvHeads: 2, d: 16, ranges: causal, extras: 0, seed: 1 },
  {
    name: 'causal after a prefix',
    n: 37,
    m: 130,
    heads: 6,
    kvHeads: 2,
    d: 32,
    ranges: causal,
    extras: 0,
    seed: 2,
  },
  { name: 'causal, no groups', n: 65, m: 65, heads: 3, kvHeads: 3, d: 8, ranges: causal, extras: 2, seed: 3 },
  { name: 'one key head', n: 33, m: 71, heads: 7, kvHeads: 1, d: 40, ranges: causal, extras: 1, seed: 4 },
  { name: 'bidirectional', n: 70, m: 70, heads: 2, kvHeads: 2, d: 80, ranges: full, extras: 0, seed: 5 },
  { name: 'wide heads', n: 41, m: 99, heads: 4, kvHeads: 4, d: 128, ranges: causal, extras: 3, seed: 6 },
  { name: 'windows', n: 150, m: 150, heads: 4, kvHeads: 1, d: 64, ranges: windows, extras: 0, seed: 7 },
  {
    name: 'packed sequences',
    n: 120,
    m: 120,
    heads: 4,
    kvHeads: 2,
    d: 32,
    ranges: packed,
    extras: 6,
    seed: 8,
  },
  {
    name: 'scattered and empty ranges',
    n: 90,
    m: 70,
    heads: 2,
    kvHeads: 1,
    d: 24,
    ranges: scattered,
    extras: 0,
    seed: 9,
  },
  {
    name: 'empty ranges with extras',
    n: 45,
    m: 20,
    heads: 4,
    kvHeads: 2,
    d: 10,
    ranges: scattered,
    extras: 2,
    seed: 10,
  },
  { name: 'decoding', n: 1, m: 300, heads: 6, kvHeads: 6, d: 32, ranges: causal, extras: 0, seed: 11 },
  { name: 'verification', n: 6, m: 90, heads: 8, kvHeads: 2, d: 40, ranges: causal, extras: 2, seed: 12 },
  {
    name: 'few rows, empty ranges',
    n: 16,
    m: 9,
    heads: 2,
    kvHeads: 2,
    d: 7,
    ranges: scattered,
    extras: 0,
    seed: 13,
  },
  {
    name: 'more heads than a block has rows',
    n: 17,
    m: 30,
    heads: 100,
    kvHeads: 1,
    d: 8,
    ranges: causal,
    extras: 1,
    seed: 14,
  },
  {
    name: 'few rows, many keys',
    n: 20,
    m: 900,
    heads: 2,
    kvHeads: 1,
    d: 20,
    ranges: causal,
    extras: 0,
    seed: 16,
  },
];

interface Problem {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  begin: Tensor;
  end: Tensor;
  dout: Tensor;
  options: AttentionOptions;
  expected: ReferenceAttentionResult;
}

function makeProblem({ n, m, heads, kvHeads, d, ranges, extras, seed }: Case, scale = 0.4): Problem {
  const draws = new Draws(seed);
  const bounds = ranges(n, m, draws);
  const make = (rows: number, count: number): Tensor =>
    tensor(draws.normals(rows * count * d), [rows, count, d]);
  const q = make(n, heads);
  const dout = make(n, heads);
  const k = make(m, kvHeads);
  const v = make(m, kvHeads);
  const rowCount = Math.ceil(n / 2) + 1; // fewer rows than queries: some are named twice, some never
  const extraKeys = Array.from({ length: extras }, () => ({
    k: make(rowCount, kvHeads),
    v: make(rowCount, kvHeads),
    rows: tensor(
      Int32Array.from({ length: n }, () => draws.int(0, rowCount)),
      [n],
    ),
  }));
  const wide = (t: Tensor): Float64Array => Float64Array.from(toFloats(t));
  const rowMaps = extraKeys.map((extra) => extra.rows.toTypedArray() as Int32Array);
  const expected = attentionReference(
    {
      n,
      heads,
      kvHeads,
      d,
      scale: Math.fround(scale),
      q: wide(q),
      keys: [{ k, v }, ...extraKeys].map((keys) => ({ k: wide(keys.k), v: wide(keys.v) })),
      seen: (i) => {
        const [begin, end] = bounds[i]!;
        const range = Array.from({ length: Math.max(0, end - begin) }, (_, j) => ({
          source: 0,
          row: begin + j,
        }));
        return [...range, ...rowMaps.map((rows, e) => ({ source: e + 1, row: rows[i]! }))];
      },
    },
    wide(dout),
  );
  return {
    q,
    k,
    v,
    begin: tensor(
      Int32Array.from(bounds, ([begin]) => begin),
      [n],
    ),
    end: tensor(
      Int32Array.from(bounds, ([, end]) => end),
      [n],
    ),
    dout,
    options: { scale, extras: extraKeys },
    expected,
  };
}

function checkProblem(problem: Problem, variant: AttentionOptions, tolerance = 1e-5): void {
  const { q, k, v, begin, end, dout, expected } = problem;
  const options = { ...problem.options, ...variant };
  const { out, lse } = ops.attention(q, k, v, begin, end, options);
  expect(out.shape).toEqual(q.shape);
  expect(lse.shape).toEqual(q.shape.slice(0, 2));
  expectClose(toFloats(out), expected.out, tolerance, 'out');
  expectClose(toFloats(lse), expected.lse, tolerance, 'lse');
  const gradients = ops.attentionBackward(dout, q, k, v, out, lse, begin, end, options);
  expect(gradients.dk.shape).toEqual(k.shape);
  expectClose(toFloats(gradients.dq), expected.dq, tolerance, 'dq');
  [gradients, ...gradients.extras].forEach(({ dk, dv }, source) => {
    expectClose(toFloats(dk), expected.keys[source]!.dk, tolerance, `dk of source ${source}`);
    expectClose(toFloats(dv), expected.keys[source]!.dv, tolerance, `dv of source ${source}`);
  });
}

describe('attention', () => {
  it.each(cases)('equals the float64 reference, forward and backward: $name', (testCase) => {
    scope(() => {
      checkProblem(makeProblem(testCase), {});
    });
  });

  it.each(cases)('has a plain form that equals the reference: $name', (testCase) => {
    scope(() => {
      checkProblem(makeProblem(testCase), { plain: true });
    });
  });

  it.each([
    ...cases,
    {
      name: 'an odd width',
      n: 43,
      m: 58,
      heads: 4,
      kvHeads: 2,
      d: 9,
      ranges: packedFrom(15),
      extras: 2,
      seed: 15,
    },
  ])('with bfloat16 products equals the reference to the precision of bfloat16: $name', (testCase) => {
    scope(() => {
      checkProblem(makeProblem(testCase), { dtype: 'bfloat16' }, 2e-2);
    });
  });

  it('rounds to bfloat16 where it is asked to, the processor multiplies it, and queries are many', () => {
    scope(() => {
      for (const [index, few] of [
        [0, false],
        [11, true],
      ] as const) {
        const { q, k, v, begin, end, options } = makeProblem(cases[index]!);
        const run = (dtype: 'float32' | 'bfloat16') =>
          toFloats(ops.attention(q, k, v, begin, end, { ...options, dtype }).out);
        const same = few || !native.info().bfloat16Gemm;
        if (same) expect(run('bfloat16')).toEqual(run('float32'));
        else expect(run('bfloat16')).not.toEqual(run('float32'));
      }
    });
  });

  it('survives scores far outside the range of exp', () => {
    scope(() => {
      checkProblem(makeProblem(cases[0]!, 30), { plain: true });
      const { q, k, v, begin, end, expected } = makeProblem(cases[0]!, 30);
      const { out } = ops.attention(q, k, v, begin, end, { scale: 30 });
      expectClose(toFloats(out), expected.out, 1e-4, 'out');
    });
  });

  it('takes strided rows: heads and features of q, k and v side by side in one row', () => {
    scope(() => {
      const [n, heads, d] = [40, 2, 16];
      const rows = tensor(new Draws(20).normals(n * 3 * heads * d), [n, 3 * heads, d]);
      const parts = [0, 1, 2].map((part) => narrow(rows, 1, part * heads, heads)) as [Tensor, Tensor, Tensor];
      const copies = parts.map(clone) as [Tensor, Tensor, Tensor];
      const begin = tensor(new Int32Array(n), [n]);
      const end = tensor(
        Int32Array.from({ length: n }, (_, i) => i + 1),
        [n],
      );
      const strided = ops.attention(...parts, begin, end);
      const contiguous = ops.attention(...copies, begin, end);
      expect(toFloats(strided.out)).toEqual(toFloats(contiguous.out));
      const gradient = (qkv: [Tensor, Tensor, Tensor]) =>
        ops.attentionBackward(parts[1], ...qkv, strided.out, strided.lse, begin, end);
      const [a, b] = [gradient(parts), gradient(copies)];
      for (const name of ['dq', 'dk', 'dv'] as const) expect(toFloats(a[name])).toEqual(toFloats(b[name]));
    });
  });

  it('gives zero and minus infinity without keys', () => {
    scope(() => {
      for (const n of [3, 40]) {
        const q = tensor(new Draws(21).normals(n * 2 * 8), [n, 2, 8]);
        const nothing = tensor(new Float32Array(0), [0, 2, 8]);
        const zeros = tensor(new Int32Array(n), [n]);
        const { out, lse } = ops.attention(q, nothing, nothing, zeros, zeros);
        expect(new Set(toFloats(out))).toEqual(new Set([0]));
        expect(new Set(toFloats(lse))).toEqual(new Set([-Infinity]));
        const gradients = ops.attentionBackward(q, q, nothing, nothing, out, lse, zeros, zeros);
        expect(new Set(toFloats(gradients.dq))).toEqual(new Set([0]));
        expect(gradients.dk.shape).toEqual([0, 2, 8]);
      }
    });
  });

  it('takes no queries at all', () => {
    scope(() => {
      const k = tensor(new Draws(22).normals(5 * 8), [5, 1, 8]);
      const q = tensor(new Float32Array(0), [0, 1, 8]);
      const none = tensor(new Int32Array(0), [0]);
      const { out, lse } = ops.attention(q, k, k, none, none);
      expect(out.shape).toEqual([0, 1, 8]);
      const { dk } = ops.attentionBackward(out, q, k, k, out, lse, none, none);
      expect(new Set(toFloats(dk))).toEqual(new Set([0]));
    });
  });

  it('lets NaN through to the rows that see it', () => {
    scope(() => {
      for (const n of [4, 30]) {
        const data = new Draws(23).normals(n * 8);
        data[3] = NaN;
        const q = tensor(data, [n, 1, 8]);
        const k = tensor(new Draws(24).normals(n * 8), [n, 1, 8]);
        const { out } = ops.attention(
          q,
          k,
          k,
          tensor(new Int32Array(n), [n]),
          tensor(new Int32Array(n).fill(n), [n]),
        );
        const values = toFloats(out);
        expect(values.subarray(0, 8).every(Number.isNaN)).toBe(true);
        expect(values.subarray(8).every(Number.isFinite)).toBe(true);
      }
    });
  });

  it.each(['float32', 'bfloat16'] as const)('repeats its bits in %s', (dtype) => {
    scope(() => {
      for (const index of [6, 7]) {
        const { q, k, v, begin, end, dout, options: given } = makeProblem(cases[index]!);
        const options = { ...given, dtype };
        const run = () => {
          const { out, lse } = ops.attention(q, k, v, begin, end, options);
          const { dq, dk, dv, extras } = ops.attentionBackward(dout, q, k, v, out, lse, begin, end, options);
          // On a GPU blocks add to dq in any order where products are bfloat16: it is the same to rounding only.
          const sameBits = onCuda && dtype === 'bfloat16' ? [] : [dq];
          const all = [out, lse, dk, dv, ...extras.flatMap((extra) => [extra.dk, extra.dv]), ...sameBits];
          return { all: all.map(toFloats), dq: toFloats(dq) };
        };
        const [first, second] = [run(), run()];
        first.all.forEach((bits, i) => {
          expectSameBits(bits, second.all[i]!, `result ${i}`);
        });
        expectClose(first.dq, second.dq, 1e-5, 'dq');
      }
    });
  });

  it.runIf(onCuda)('on a GPU refuses more extras than a kernel takes, in both directions', () => {
    scope(() => {
      const { q, k, v, begin, end, dout } = makeProblem(cases[0]!);
      const extra = { k: narrow(k, 0, 0, 1), v: narrow(v, 0, 0, 1), rows: tensor(new Int32Array(50), [50]) };
      const options = (count: number) => ({ extras: Array.from({ length: count }, () => extra) });
      const { out, lse } = ops.attention(q, k, v, begin, end, options(16));
      const message = '[attention] expected at most 16 extras on a GPU, received 17';
      expect(() => ops.attention(q, k, v, begin, end, options(17))).toThrow(message);
      expect(() => ops.attentionBackward(dout, q, k, v, out, lse, begin, end, options(17))).toThrow(message);
    });
  });
});

describe.runIf(onCuda && !process.env['EYAS_TEST_GPU'])('attention by the shared memory of a GPU', () => {
  interface Outcome {
    errors?: Record<'out' | 'lse' | 'dq' | 'dk' | 'dv', number>;
    message?: string;
  }

  /** Forward and backward against the plain form, for each size of heads, in a process of its own. */
  function outcomes(
    sizes: readonly number[],
    dtype: 'float32' | 'bfloat16',
    bytes: number,
    n: number,
  ): Outcome[] {
    const program = `
      const native = require('node-gyp-build')(process.cwd());
      native.setDevice('cuda');
      const n = ${n}, dtype = '${dtype}';
      const ints = (of) => native.fromData(Int32Array.from({ length: n }, (_, i) => of(i)), 'int32', [n]);
      const [begin, end] = [ints(() => 0), ints((i) => i + 1)];
      const largest = (x) => x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const outcome = (d) => {
        const make = (heads, seed) => native.randomNormal([n, heads, d], 1, seed);
        const [q, dout, k, v] = [make(4, 1n), make(4, 2n), make(1, 3n), make(1, 4n)];
        const run = (options) => {
          const { out, lse } = native.attention(q, k, v, begin, end, options);
          const { dq, dk, dv } = native.attentionBackward(dout, q, k, v, out, lse, begin, end, options);
          const all = Object.entries({ out, lse, dq, dk, dv });
          return Object.fromEntries(all.map(([name, x]) => [name, x.toTypedArray()]));
        };
        try {
          const [received, expected] = [run({ dtype }), run({ plain: true })];
          const error = (x, y) => largest(x.map((value, i) => value - y[i])) / largest(y);
          const errors = Object.entries(received).map(([name, x]) => [name, error(x, expected[name])]);
          return { errors: Object.fromEntries(errors) };
        } catch ({ message }) {
          return { message };
        }
      };
      console.log(JSON.stringify(${JSON.stringify(sizes)}.map(outcome)));
    `;
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', program], {
      cwd: packageRoot,
      encoding: 'utf8',
      env: { ...process.env, EYAS_EMULATED_SHARED_BYTES: String(bytes) },
    });
    expect(stderr).toBe('');
    return JSON.parse(stdout) as Outcome[];
  }

  function expectRight({ errors, message }: Outcome, tolerance: number, name: string): void {
    expect(message, name).toBeUndefined();
    for (const error of Object.values(errors!)) expect(error, name).toBeLessThanOrEqual(tolerance);
  }

  const sizes = [64, 80, 96, 128, 256];

  // What blocks can have on an A100 and on an H100.
  it.each([166_912, 232_448])('all sizes of heads fit into %i bytes', (bytes) => {
    outcomes(sizes, 'bfloat16', bytes, 150).forEach((outcome, i) => {
      expectRight(outcome, 2e-2, `heads of ${sizes[i]!}`);
    });
  });

  it('on smaller ones wide heads have no backward pass, which says so', () => {
    const received = outcomes(sizes, 'bfloat16', 101_376, 150);
    expect(received.pop()).toEqual({
      message:
        '[attentionBackward] expected 154624 bytes of shared memory for heads of 256 features, received a GPU with 101376',
    });
    received.forEach((outcome, i) => {
      expectRight(outcome, 2e-2, `heads of ${sizes[i]!}`);
    });
  });

  it('without tensor cores too wide heads are refused', () => {
    const [fits, backward, both] = outcomes([437, 440, 460], 'float32', 232_448, 20);
    expectRight(fits!, 1e-5, 'heads of 437');
    expect(backward!.message).toBe(
      '[attentionBackward] expected 234256 bytes of shared memory for heads of 440 features, received a GPU with 232448',
    );
    expect(both!.message).toMatch(/^\[attention\] expected .* for heads of 460 features/);
  });
});

describe('attention of few rows', () => {
  // Two sizes: within one thread and, the larger one, shared between threads.
  it.each([
    { heads: 6, kvHeads: 6, d: 32, m: 300 },
    { heads: 28, kvHeads: 4, d: 128, m: 700 },
    { heads: 5, kvHeads: 1, d: 12, m: 90 },
  ])('a row depends on its own keys alone: $heads/$kvHeads heads of $d', ({ heads, kvHeads, d, m }) => {
    scope(() => {
      const draws = new Draws(30 + d);
      const n = 16;
      const bounds = Array.from({ length: n }, (_, i): [number, number] =>
        i < 8 ? [0, m - n + i] : [draws.int(0, 20), draws.int(20, m)],
      );
      const q = tensor(draws.normals(n * heads * d), [n, heads, d]);
      const cache = [0, 1].map(() => draws.normals(m * kvHeads * d));
      const [k, v] = cache.map((data) => tensor(data, [m, kvHeads, d])) as [Tensor, Tensor];
      const decode = (first: number, count: number, keys: Tensor, values: Tensor) => {
        const rows = bounds.slice(first, first + count);
        const begin = tensor(
          Int32Array.from(rows, ([from]) => from),
          [count],
        );
        const end = tensor(
          Int32Array.from(rows, ([, to]) => to),
          [count],
        );
        const { out, lse } = ops.attention(narrow(q, 0, first, count), keys, values, begin, end);
        return { out: toFloats(out), lse: toFloats(lse) };
      };
      const alone = bounds.map((_, i) => decode(i, 1, k, v));
      for (let count = 2; count <= n; count++) {
        for (const first of [0, n - count]) {
          const { out, lse } = decode(first, count, k, v);
          for (let i = 0; i < count; i++) {
            const size = heads * d;
            expectSameBits(
              out.subarray(i * size, (i + 1) * size),
              alone[first + i]!.out,
              `row ${i} of ${count}`,
            );
            expectSameBits(
              lse.subarray(i * heads, (i + 1) * heads),
              alone[first + i]!.lse,
              `lse ${i} of ${count}`,
            );
          }
        }
      }
      // A larger cache, whose other rows hold what they may.
      const roomy = cache.map((data) => {
        const larger = new Float32Array(data.length + 50 * kvHeads * d).fill(NaN);
        larger.set(data);
        return tensor(larger, [m + 50, kvHeads, d]);
      }) as [Tensor, Tensor];
      expectSameBits(decode(0, 1, ...roomy).out, alone[0]!.out, 'rows of a larger cache');
    });
  });
});

describe('attention arguments', () => {
  const shape = (...dims: number[]): Tensor =>
    tensor(new Float32Array(dims.reduce((a, b) => a * b, 1)), dims);
  const ints = (...values: number[]): Tensor => tensor(Int32Array.from(values), [values.length]);
  const call = (changes: Record<string, unknown>): unknown => {
    const args: Record<string, unknown> = {
      q: shape(3, 4, 8),
      k: shape(5, 2, 8),
      v: shape(5, 2, 8),
      begin: ints(0, 0, 0),
      end: ints(5, 5, 5),
      ...changes,
    };
    const attention = ops.attention as (...values: unknown[]) => unknown;
    return attention(args['q'], args['k'], args['v'], args['begin'], args['end'], args['options']);
  };
  const extra = { k: [4, 2, 8], v: [4, 2, 8] };

  it.each<[string, () => Record<string, unknown>, RegExp]>([
    [
      'q rank',
      () => ({ q: shape(3, 8) }),
      /\[attention\] expected shape \[-1,-1,-1\] for q, received float32 \[3,8\]/,
    ],
    [
      'k size',
      () => ({ k: shape(5, 2, 4) }),
      /\[attention\] expected .*8.* for k, received float32 \[5,2,4\]/,
    ],
    [
      'v size',
      () => ({ v: shape(4, 2, 8) }),
      /\[attention\] expected shape \[5,2,8\] for v, received float32 \[4,2,8\]/,
    ],
    [
      'heads',
      () => ({ k: shape(5, 3, 8), v: shape(5, 3, 8) }),
      /divides the 4 heads of q, received float32 \[5,3,8\]/,
    ],
    [
      'element type',
      () => ({ q: tensor(new Uint16Array(96), [3, 4, 8]) }),
      /float32 for q, received bfloat16 \[3,4,8\]/,
    ],
    ['begin size', () => ({ begin: ints(0, 0) }), /shape \[3\] for begin, received int32 \[2\]/],
    ['begin type', () => ({ begin: shape(3) }), /int32 for begin, received float32 \[3\]/],
    ['begin range', () => ({ begin: ints(0, -1, 0) }), /0 to 5 for begin\[1\], received -1/],
    ['end range', () => ({ end: ints(5, 5, 6) }), /0 to 5 for end\[2\], received 6/],
    ['strides', () => ({ q: transpose(shape(4, 3, 8), 0, 1) }), /contiguous heads and features for q/],
    ['not a tensor', () => ({ v: 'v' }), /\[attention\] expected a tensor for v, received 'v'/],
    [
      'extra size',
      () => ({ options: { extras: [{ k: shape(4, 1, 8), v: shape(4, 2, 8), rows: ints(0, 0, 0) }] } }),
      /extras\[0\]\.k, received float32 \[4,1,8\]/,
    ],
    [
      'extra rows',
      () => ({ options: { extras: [{ k: shape(...extra.k), v: shape(...extra.v), rows: ints(0, 4, 0) }] } }),
      /0 to 3 for extras\[0\]\.rows\[1\], received 4/,
    ],
    ['scale', () => ({ options: { scale: 'large' } }), /a number for scale, received 'large'/],
  ])('are refused by name: %s', (_, changes, message) => {
    scope(() => {
      expect(() => call(changes())).toThrow(message);
    });
  });

  it('of the backward pass are refused by name', () => {
    scope(() => {
      const q = shape(3, 4, 8);
      const k = shape(5, 2, 8);
      const [begin, end] = [ints(0, 0, 0), ints(5, 5, 5)];
      const { out, lse } = ops.attention(q, k, k, begin, end);
      expect(() => ops.attentionBackward(shape(3, 4, 4), q, k, k, out, lse, begin, end)).toThrow(
        /\[attentionBackward\] expected shape \[3,4,8\] for dout, received float32 \[3,4,4\]/,
      );
      expect(() => ops.attentionBackward(q, q, k, k, out, shape(3, 2), begin, end)).toThrow(
        /\[attentionBackward\] expected shape \[3,4\] for lse, received float32 \[3,2\]/,
      );
    });
  });
});

it('leaves no tensor behind', () => {
  const before = native.memory();
  const problem = scope(() => makeProblem(cases[3]!));
  scope(() => {
    checkProblem(problem, {});
  });
  dispose([
    problem.q,
    problem.k,
    problem.v,
    problem.begin,
    problem.end,
    problem.dout,
    problem.options.extras,
  ]);
  expect(native.memory().liveTensors).toBe(before.liveTensors);
  expect(native.memory().liveBytes).toBe(before.liveBytes);
});
