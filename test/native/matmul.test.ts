import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { native, packageRoot, type MatmulOptions } from '../../lib/native.js';
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
import { expectClose, expectSameBits, matmulReference } from '../helpers/reference.js';

const dtypes = ['float32', 'bfloat16'] as const;
type Size = [m: number, k: number, n: number];

const matrix = (draws: Draws, rows: number, columns: number): Tensor =>
  tensor(draws.normals(rows * columns), [rows, columns]);

/** What the kernels multiply: values rounded to bfloat16 if asked. */
const operand = (t: Tensor, rounded: boolean): Float32Array =>
  toFloats(cast(rounded ? cast(t, 'bfloat16') : t, 'float32'));

describe('matmul', () => {
  // Row kernel and oneDNN, odd sizes, sizes of one, tails of every tile.
  const sizes: Size[] = [
    [1, 1, 1],
    [1, 192, 384],
    [1, 33, 7],
    [5, 31, 9],
    [13, 70, 37],
    [16, 65, 33],
    [17, 33, 5],
    [40, 1, 3],
    [40, 3, 1],
    [64, 100, 77],
    [130, 64, 130],
  ];

  for (const dtypeA of dtypes)
    for (const dtypeB of dtypes)
      it(`equals the float64 product for ${dtypeA} · ${dtypeB}, transposed or not`, () => {
        const draws = new Draws(11);
        const rounded = dtypeA === 'bfloat16' || dtypeB === 'bfloat16';
        for (const [m, k, n] of sizes) {
          scope(() => {
            const a = matrix(draws, m, k);
            const b = matrix(draws, k, n);
            const expected = matmulReference(operand(a, rounded), operand(b, rounded), [m, k, n]);
            for (const transposeA of [false, true])
              for (const transposeB of [false, true]) {
                const left = cast(transposeA ? transpose(a, 0, 1) : a, dtypeA);
                const right = cast(transposeB ? transpose(b, 0, 1) : b, dtypeB);
                const out = ops.matmul(left, right, { transposeA, transposeB });
                expect([out.shape, out.dtype]).toEqual([[m, n], 'float32']);
                expectClose(toFloats(out), expected, 1e-5, [m, k, n].join('×'));
              }
          });
        }
      });

  it('takes views as they are', () => {
    const draws = new Draws(12);
    for (const m of [3, 50]) {
      scope(() => {
        const [k, n] = [24, 18];
        const a = narrow(matrix(draws, m, 40), 1, 7, k);
        const b = narrow(matrix(draws, n, 60), 1, 30, k);
        const expected = matmulReference(toFloats(a), toFloats(b), [m, k, n], true);
        expectClose(toFloats(ops.matmul(a, b, { transposeB: true })), expected);
        expectClose(toFloats(ops.matmul(a, transpose(b, 0, 1))), expected);
      });
    }
  });

  it('adds a bias, writes into out (also a view), and accumulates', () => {
    const draws = new Draws(13);
    for (const dtype of dtypes)
      for (const m of [1, 4, 16, 33])
        for (const transposeB of [false, true]) {
          scope(() => {
            const [k, n] = [37, 21];
            const a = matrix(draws, m, k);
            const b = transposeB ? matrix(draws, n, k) : matrix(draws, k, n);
            const bias = tensor(draws.normals(n), [n]);
            const buffer = matrix(draws, m, n + 9);
            const out = narrow(buffer, 1, 4, n);
            const before = toFloats(buffer);
            const rounded = dtype === 'bfloat16';
            const product = matmulReference(operand(a, rounded), operand(b, rounded), [m, k, n], transposeB);
            const withBias = product.map((x, i) => x + toFloats(bias)[i % n]!);
            const weights = cast(b, dtype);

            expectClose(toFloats(ops.matmul(a, weights, { transposeB, bias })), withBias);
            ops.matmul(a, weights, { transposeB, bias, out });
            expectClose(toFloats(out), withBias);
            ops.matmul(a, weights, { transposeB, out, accumulate: true });
            expectClose(
              toFloats(out),
              withBias.map((x, i) => x + product[i]!),
            );
            // Columns beside the view stay.
            toFloats(buffer).forEach((x, i) => {
              const column = i % (n + 9);
              if (column < 4 || column >= 4 + n) expect(x).toBe(before[i]);
            });
          });
        }
  });

  it('reads its operands before it writes over them', () => {
    for (const m of [8, 24]) {
      scope(() => {
        const a = matrix(new Draws(14), m, m);
        const expected = matmulReference(toFloats(a), toFloats(a), [m, m, m]);
        ops.matmul(a, a, { out: a });
        expectClose(toFloats(a), expected);
      });
    }
  });

  it('gives zeros, or the bias, where there is nothing to sum', () => {
    scope(() => {
      const a = ops.zeros([2, 0], 'float32');
      const b = ops.zeros([0, 3], 'float32');
      const bias = tensor(Float32Array.of(1, 2, 3), [3]);
      expect([...toFloats(ops.matmul(a, b))]).toEqual([0, 0, 0, 0, 0, 0]);
      const out = ops.matmul(a, b, { bias });
      expect([...toFloats(out)]).toEqual([1, 2, 3, 1, 2, 3]);
      ops.matmul(a, b, { bias, out, accumulate: true });
      expect([...toFloats(out)]).toEqual([2, 4, 6, 2, 4, 6]);
      expect(ops.matmul(b, a, { transposeA: true, transposeB: true }).shape).toEqual([3, 2]);
      expect(ops.matmul(ops.zeros([0, 4], 'float32'), ops.zeros([4, 3], 'float32')).shape).toEqual([0, 3]);
    });
  });

  it('lets NaN and infinities through', () => {
    for (const m of [1, 20]) {
      scope(() => {
        const a = tensor(new Float32Array(m * 40).fill(1), [m, 40]);
        const b = ops.zeros([3, 40], 'float32');
        narrow(b, 0, 0, 1).fill(Infinity);
        narrow(narrow(b, 0, 1, 1), 1, 39, 1).fill(NaN);
        expect([...toFloats(ops.matmul(a, b, { transposeB: true })).slice(0, 3)]).toEqual([Infinity, NaN, 0]);
      });
    }
  });
});

describe('rows of small products', () => {
  for (const dtype of dtypes)
    for (const transposeB of [true, false])
      it(`have the same bits however many there are: ${dtype}, ${transposeB ? 'b transposed' : 'b as it is'}`, () => {
        const draws = new Draws(21);
        for (const [k, n] of [
          [192, 384],
          [77, 51],
          [1030, 97],
        ] as const) {
          scope(() => {
            const a = matrix(draws, 16, k);
            const b = cast(transposeB ? matrix(draws, n, k) : matrix(draws, k, n), dtype);
            const all = toFloats(ops.matmul(a, b, { transposeB }));
            for (let rows = 1; rows < 16; rows++) {
              for (const start of [0, 16 - rows]) {
                const some = toFloats(ops.matmul(narrow(a, 0, start, rows), b, { transposeB }));
                expectSameBits(some, all.slice(start * n, (start + rows) * n), `${rows} rows from ${start}`);
              }
            }
          });
        }
      });

  it('have the same bits for any number of threads', () => {
    const { threads } = native.info();
    scope(() => {
      const draws = new Draws(22);
      const a = matrix(draws, 5, 512);
      const b = matrix(draws, 1003, 512);
      const bits = [1, 2, 3].map((count) => {
        native.setThreads(count);
        return toFloats(ops.matmul(a, b, { transposeB: true }));
      });
      native.setThreads(threads);
      expectSameBits(bits[1]!, bits[0]!);
      expectSameBits(bits[2]!, bits[0]!);
    });
  });

  it('repeat exactly for large products too', () => {
    scope(() => {
      const draws = new Draws(23);
      const a = matrix(draws, 100, 300);
      const b = matrix(draws, 300, 200);
      expectSameBits(toFloats(ops.matmul(a, b)), toFloats(ops.matmul(clone(a), clone(b))));
    });
  });
});

describe('operands in the order of the kernels', () => {
  // Whole panels, parts of panels, odd depths, and rows enough that matmul itself packs b and turns a transposed a.
  const sizes: Size[] = [
    [17, 64, 64],
    [33, 31, 65],
    [50, 129, 200],
    [600, 300, 257],
    [520, 131, 515],
  ];

  for (const dtype of dtypes)
    it(`panels give the same product for ${dtype}, into rows of their own and into others' columns`, () => {
      const draws = new Draws(31);
      for (const [m, k, n] of sizes) {
        scope(() => {
          const a = cast(matrix(draws, m, k), dtype);
          const b = cast(matrix(draws, k, n), dtype);
          const rounded = dtype === 'bfloat16';
          const expected = matmulReference(operand(a, rounded), operand(b, rounded), [m, k, n]);
          const added = draws.normals(n);
          const bias = tensor(added, [n]);
          const biased = expected.map((x, i) => x + added[i % n]!);
          for (const transposeB of [false, true]) {
            // A view of some columns of a wider matrix.
            const wide = cast(matrix(draws, transposeB ? n : k, (transposeB ? k : n) + 5), dtype);
            const right = narrow(wide, 1, 3, transposeB ? k : n);
            right.copyFrom(transposeB ? transpose(b, 0, 1) : b);
            const panels = ops.matmulPanels(right, transposeB);
            const out = narrow(ops.zeros([m, n + 7], 'float32'), 1, 2, n);
            const name = [m, k, n].join('×');
            expectClose(toFloats(ops.matmul(a, right, { transposeB, panels, bias })), biased, 1e-5, name);
            ops.matmul(a, right, { transposeB, panels, out });
            ops.matmul(a, right, { transposeB, panels, out, accumulate: true });
            expectClose(
              toFloats(out),
              expected.map((x) => 2 * x),
              1e-5,
              `${name} twice`,
            );
            const turned = transpose(clone(transpose(a, 0, 1)), 0, 1);
            expectClose(
              toFloats(ops.matmul(turned, right, { transposeB })),
              expected,
              1e-5,
              `${name} turned`,
            );
          }
        });
      }
    });

  it('a few rows have the bits that they have without panels', () => {
    scope(() => {
      const draws = new Draws(32);
      const [a, b] = [matrix(draws, 7, 96), matrix(draws, 80, 96)];
      const panels = ops.matmulPanels(b, true);
      const options = { transposeB: true };
      expectSameBits(toFloats(ops.matmul(a, b, { ...options, panels })), toFloats(ops.matmul(a, b, options)));
    });
  });

  for (const dtype of dtypes)
    it(`products of parts over their rows add up, ${dtype}`, () => {
      const draws = new Draws(33);
      for (const [parts, m, n] of [
        [[1, 2, 40], 70, 33],
        [[63, 5, 5], 130, 129],
        [[20], 18, 20],
        [[9, 9], 3, 5],
        [[300, 0, 17], 200, 520],
      ] as const) {
        scope(() => {
          const rows = parts.map((k) => [matrix(draws, k, m), matrix(draws, k, n + 4)] as const);
          const a = rows.map(([left]) => cast(left, dtype));
          const b = rows.map(([, right]) => narrow(cast(right, dtype), 1, 1, n));
          const expected = new Float64Array(m * n);
          parts.forEach((k, i) => {
            const left = clone(transpose(cast(a[i]!, 'float32'), 0, 1));
            matmulReference(toFloats(left), toFloats(cast(b[i]!, 'float32')), [m, k, n]).forEach(
              (x, j) => (expected[j]! += x),
            );
          });
          expectClose(toFloats(ops.matmulTransposed(a, b)), expected, 1e-5, parts.join('+'));
          const out = narrow(ops.zeros([m, 2 * n], 'float32'), 1, n, n);
          ops.matmulTransposed(a, b, { out });
          ops.matmulTransposed(a, b, { out, accumulate: true });
          expectClose(
            toFloats(out),
            expected.map((x) => 2 * x),
            1e-5,
            `${parts.join('+')} twice`,
          );
        });
      }
    });
});

describe('matmul refuses', () => {
  const zeros = (...shape: number[]): Tensor => ops.zeros(shape, 'float32');
  const cases: [string, () => unknown, string][] = [
    [
      'inner sizes that differ',
      () => ops.matmul(zeros(2, 3), zeros(4, 5)),
      '[matmul] expected b with 3 rows for a float32 [2,3], received float32 [4,5]',
    ],
    [
      'inner sizes that differ, transposed',
      () => ops.matmul(zeros(2, 3), zeros(5, 4), { transposeA: true, transposeB: true }),
      '[matmul] expected b with 2 columns for a float32 [2,3] transposed, received float32 [5,4]',
    ],
    [
      'other ranks',
      () => ops.matmul(zeros(2, 3, 4), zeros(4, 5)),
      '[matmul] expected 2 dimensions for a, received float32 [2,3,4]',
    ],
    [
      'other dtypes',
      () => ops.matmul(zeros(2, 3), ops.zeros([3, 2], 'int32')),
      '[matmul] expected float32 or bfloat16 for b, received int32 [3,2]',
    ],
    [
      'a bias of another shape',
      () => ops.matmul(zeros(2, 3), zeros(3, 5), { bias: zeros(2) }),
      '[matmul] expected shape [5] for bias, received float32 [2]',
    ],
    [
      'an out of another shape',
      () => {
        ops.matmul(zeros(2, 3), zeros(3, 5), { out: zeros(5, 2) });
      },
      '[matmul] expected shape [2,5] for out, received float32 [5,2]',
    ],
    [
      'an out of another dtype',
      () => {
        ops.matmul(zeros(2, 3), zeros(3, 5), { out: ops.zeros([2, 5], 'bfloat16') });
      },
      '[matmul] expected float32 for out, received bfloat16 [2,5]',
    ],
    [
      'an out with spread rows',
      () => {
        ops.matmul(zeros(2, 3), zeros(3, 5), { out: transpose(zeros(5, 2), 0, 1) });
      },
      '[matmul] expected contiguous rows for out, received strides [1,2]',
    ],
    [
      'accumulating into nothing',
      () => ops.matmul(zeros(2, 3), zeros(3, 5), { accumulate: true }),
      '[matmul] expected out with accumulate, received none',
    ],
    [
      'panels of another matrix',
      () => ops.matmul(zeros(20, 30), zeros(30, 70), { panels: zeros(1, 32, 64) }),
      '[matmul] expected shape [2,32,64] for panels, received float32 [1,32,64]',
    ],
    [
      'panels of another type',
      () => ops.matmul(zeros(20, 30), zeros(30, 70), { panels: ops.zeros([2, 32, 64], 'bfloat16') }),
      '[matmul] expected float32 for panels, received bfloat16 [2,32,64]',
    ],
    [
      'parts of different widths',
      () => ops.matmulTransposed([zeros(4, 3), zeros(4, 2)], [zeros(4, 5), zeros(4, 5)]),
      '[matmulTransposed] expected shape [4,3] for a, received float32 [4,2]',
    ],
    [
      'parts without a partner',
      () => ops.matmulTransposed([zeros(4, 3), zeros(4, 3)], [zeros(4, 5)]),
      '[matmulTransposed] expected one or more a and as many b, received 2 and 1',
    ],
    [
      'parts of several types',
      () => ops.matmulTransposed([zeros(4, 3)], [ops.zeros([4, 5], 'bfloat16')]),
      '[matmulTransposed] expected float32 for b, received bfloat16 [4,5]',
    ],
    [
      'options of another type',
      () => ops.matmul(zeros(2, 3), zeros(3, 5), { transposeA: 1 } as unknown as MatmulOptions),
      '[matmul] expected true or false for transposeA, received 1',
    ],
  ];
  for (const [name, call, message] of cases) {
    it(name, () => {
      scope(() => {
        expect(call).toThrow(new TypeError(message));
      });
    });
  }
});

describe('without bfloat16 instructions', () => {
  it('gives the same product from rounded operands', () => {
    const program = `
      const native = require('node-gyp-build')(process.cwd());
      const a = native.randomNormal([40, 96], 1, 1n);
      const b = native.randomNormal([24, 96], 1, 2n).cast('bfloat16');
      const out = native.matmul(a, b, { transposeB: true }).toTypedArray();
      const panels = native.matmulPanels(b) !== undefined;
      console.log(JSON.stringify({ gemm: native.info().bfloat16Gemm, panels, out: [...out] }));
    `;
    const run = spawnSync(process.execPath, ['-e', program], {
      cwd: packageRoot,
      encoding: 'utf8',
      env: { ...process.env, ONEDNN_MAX_CPU_ISA: 'AVX2' },
    });
    expect(run.stderr).toBe('');
    const { gemm, panels, out } = JSON.parse(run.stdout) as { gemm: boolean; panels: boolean; out: number[] };
    expect([gemm, panels]).toEqual([false, false]);
    scope(() => {
      const a = ops.randomNormal([40, 96], 1, 1n);
      const b = ops.randomNormal([24, 96], 1, 2n);
      expectClose(out, matmulReference(operand(a, true), operand(b, true), [40, 96, 24], true));
    });
  });

  it.each([1, 2])('survives signals that a program handles, with %i threads', (threads) => {
    // Signals come at any instruction of a product; a handler's frame must never land in the heap.
    const program = `
      process.on('SIGUSR2', () => {});
      const native = require('node-gyp-build')(process.cwd());
      native.setThreads(${threads});
      const storm = require('node:child_process').spawn('sh',
        ['-c', 'trap "exit 0" TERM; while kill -USR2 ' + process.pid + '; do :; done'], { stdio: 'ignore' });
      storm.on('spawn', async () => {
        const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
        for (const m of [20, 33, 64, 144, 300])
          for (const n of [16, 64, 100, 200])
            for (const k of [32, 100, 256, 1000]) {
              const a = native.zeros([m, k], 'float32'), b = native.zeros([n, k], 'float32');
              for (let i = 0; i < 20; ++i) native.matmul(a, b, { transposeB: true });
              await turn();
            }
        console.log('all multiplied');
        storm.kill();
        process.exit(0);
      });
    `;
    const run = spawnSync(process.execPath, ['-e', program], { cwd: packageRoot, encoding: 'utf8' });
    expect([run.signal, run.stderr, run.stdout]).toEqual([null, '', 'all multiplied\n']);
  });
});
