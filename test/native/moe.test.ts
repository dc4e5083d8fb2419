import { describe, expect, it } from 'vitest';
import { native, type Routing } from '../../lib/native.js';
import {
  cast,
  narrow,
  ops,
  reshape,
  scope,
  tensor,
  toFloats,
  toInts,
  type Tensor,
} from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { expectClose, expectSameBits, softmaxReference } from '../helpers/reference.js';

const dtypes = ['float32', 'bfloat16'] as const;

interface Size {
  rows: number;
  hidden: number;
  intermediate: number;
  experts: number;
  perToken: number;
}

interface Case {
  x: Tensor;
  logits: Tensor;
  gateUp: Tensor;
  down: Tensor;
}

function make(
  draws: Draws,
  { rows, hidden, intermediate, experts }: Size,
  dtype: 'float32' | 'bfloat16',
): Case {
  const weights = (outputs: number, inputs: number): Tensor =>
    cast(
      tensor(draws.normals(experts * outputs * inputs, inputs ** -0.5), [experts, outputs, inputs]),
      dtype,
    );
  return {
    x: tensor(draws.normals(rows * hidden), [rows, hidden]),
    logits: tensor(draws.normals(rows * experts), [rows, experts]),
    gateUp: weights(2 * intermediate, hidden),
    down: weights(hidden, intermediate),
  };
}

/** Matrix e of a stack [E, a, b]. */
const matrixOf = (stack: Tensor, e: number): Tensor => reshape(narrow(stack, 0, e, 1), stack.shape.slice(1));

/** Every expert on every row with the dense operations, in float64 sums of what was chosen. */
function plain({ x, gateUp, down }: Case, routing: Routing): Float64Array {
  const [rows, width] = x.shape as [number, number];
  const intermediate = down.shape[2]!;
  const perToken = routing.experts.shape[1]!;
  const chosen = toInts(routing.experts);
  const weights = toFloats(routing.weights);
  const sum = new Float64Array(rows * width);
  for (let e = 0; e < gateUp.shape[0]!; e++) {
    scope(() => {
      const both = ops.matmul(x, matrixOf(gateUp, e), { transposeB: true });
      const half = (at: number): Tensor => narrow(both, 1, at, intermediate);
      const gated = ops.gatedActivation(half(0), half(intermediate), 'silu');
      const output = toFloats(ops.matmul(gated, matrixOf(down, e), { transposeB: true }));
      chosen.forEach((expert, i) => {
        if (expert !== e) return;
        const at = Math.floor(i / perToken) * width;
        for (let j = 0; j < width; j++) sum[at + j]! += weights[i]! * output[at + j]!;
      });
    });
  }
  return sum;
}

const silu = { activation: 'silu' } as const;

describe('routeTopK', () => {
  it('chooses the most probable experts, and weighs them by a softmax over all', () => {
    const draws = new Draws(31);
    for (const [rows, experts, k] of [
      [1, 1, 1],
      [7, 4, 2],
      [40, 128, 8],
      [3, 6, 6],
    ] as const)
      for (const normalize of [false, true]) {
        scope(() => {
          const logits = draws.normals(rows * experts, 3);
          const routing = ops.routeTopK(tensor(logits, [rows, experts]), k, normalize);
          expect(routing.experts.shape).toEqual([rows, k]);
          const weights: number[] = [];
          const chosen: number[] = [];
          for (let row = 0; row < rows; row++) {
            const p = softmaxReference(logits.subarray(row * experts, (row + 1) * experts));
            const best = [...p.keys()].sort((a, b) => p[b]! - p[a]!).slice(0, k);
            const sum = normalize ? best.reduce((total, e) => total + p[e]!, 0) : 1;
            chosen.push(...best);
            weights.push(...best.map((e) => p[e]! / sum));
          }
          expect([...toInts(routing.experts)]).toEqual(chosen);
          expectClose(toFloats(routing.weights), weights, 1e-6);
        });
      }
  });

  it('takes the lower index of equals, and expert indices even of NaN', () => {
    scope(() => {
      const logits = tensor(Float32Array.of(1, 2, 2, 1, 2, 1, 0, 0, 0, 0, 0, 0, NaN, 1, 2, 3, 4, 5), [3, 6]);
      const { experts, weights } = ops.routeTopK(logits, 4, true);
      expect([...toInts(experts)]).toEqual([1, 2, 4, 0, 0, 1, 2, 3, 0, 1, 2, 3]);
      expect([...toFloats(weights).subarray(4)]).toEqual([0.25, 0.25, 0.25, 0.25, NaN, NaN, NaN, NaN]);
    });
  });

  it('refuses', () => {
    scope(() => {
      const logits = ops.zeros([2, 4], 'float32');
      for (const k of [0, 5]) {
        expect(() => ops.routeTopK(logits, k, true)).toThrow(
          `[routeTopK] expected k from 1 to 4, received ${k}`,
        );
      }
      expect(() => ops.routeTopK(cast(logits, 'bfloat16'), 1, true)).toThrow(
        '[routeTopK] expected float32 for logits, received bfloat16 [2,4]',
      );
      expect(() => ops.routeTopK(ops.zeros([4], 'float32'), 1, true)).toThrow(
        '[routeTopK] expected 2 dimensions',
      );
    });
  });
});

describe('expertMlp', () => {
  // Few rows for all, few rows for some experts, many for each; experts without rows; odd sizes.
  const sizes: Size[] = [
    { rows: 1, hidden: 24, intermediate: 16, experts: 8, perToken: 2 },
    { rows: 16, hidden: 33, intermediate: 7, experts: 4, perToken: 4 },
    { rows: 37, hidden: 32, intermediate: 20, experts: 64, perToken: 8 },
    { rows: 150, hidden: 64, intermediate: 48, experts: 6, perToken: 2 },
    { rows: 3, hidden: 5, intermediate: 1, experts: 1, perToken: 1 },
  ];

  for (const dtype of dtypes)
    it(`equals the dense composition: ${dtype}`, () => {
      const draws = new Draws(32);
      for (const size of sizes) {
        scope(() => {
          const given = make(draws, size, dtype);
          const routing = ops.routeTopK(given.logits, size.perToken, false);
          const expected = plain(given, routing);
          const actual = ops.expertMlp(given.x, routing, given.gateUp, given.down, silu);
          expectClose(toFloats(actual), expected, 2e-6, JSON.stringify(size));

          const residual = draws.normals(actual.size);
          const out = tensor(residual, actual.shape);
          const live = native.memory().liveTensors;
          ops.expertMlp(given.x, routing, given.gateUp, given.down, { ...silu, out, accumulate: true });
          expectClose(
            toFloats(out),
            expected.map((value, i) => value + residual[i]!),
            2e-6,
          );
          ops.expertMlp(given.x, routing, given.gateUp, given.down, { ...silu, out });
          expectSameBits(toFloats(out), toFloats(actual));
          expect(native.memory().liveTensors).toBe(live);
        });
      }
    });

  it('applies the activation that is named', () => {
    scope(() => {
      const given = make(new Draws(33), sizes[0]!, 'float32');
      const routing = ops.routeTopK(given.logits, 2, true);
      const outputs = (['silu', 'gelu', 'gelu_tanh', 'quick_gelu'] as const).map((activation) =>
        toFloats(ops.expertMlp(given.x, routing, given.gateUp, given.down, { activation })).join(),
      );
      expect(new Set(outputs).size).toBe(4);
    });
  });

  for (const dtype of dtypes)
    it(`gives a row the same bits however many rows there are, up to 16: ${dtype}`, () => {
      for (const size of [
        { rows: 16, hidden: 96, intermediate: 40, experts: 8, perToken: 3 },
        { rows: 16, hidden: 520, intermediate: 512, experts: 4, perToken: 2 },
      ]) {
        scope(() => {
          const { x, logits, gateUp, down } = make(new Draws(34), size, dtype);
          const run = (start: number, rows: number): Float32Array => {
            const routing = ops.routeTopK(narrow(logits, 0, start, rows), size.perToken, true);
            return toFloats(ops.expertMlp(narrow(x, 0, start, rows), routing, gateUp, down, silu));
          };
          const all = run(0, 16);
          for (const rows of [1, 2, 3, 4, 7, 8, 15])
            for (const start of [0, 16 - rows]) {
              const expected = all.slice(start * size.hidden, (start + rows) * size.hidden);
              expectSameBits(run(start, rows), expected, `${rows} rows from ${start}`);
            }
        });
      }
    });

  it('gives the same bits for any number of threads', () => {
    const { threads } = native.info();
    const size = { rows: 9, hidden: 256, intermediate: 512, experts: 4, perToken: 2 };
    scope(() => {
      const { x, logits, gateUp, down } = make(new Draws(35), size, 'float32');
      const routing = ops.routeTopK(logits, 2, true);
      const bits = [1, 2, 3].map((count) => {
        native.setThreads(count);
        return toFloats(ops.expertMlp(x, routing, gateUp, down, silu));
      });
      native.setThreads(threads);
      expectSameBits(bits[1]!, bits[0]!);
      expectSameBits(bits[2]!, bits[0]!);
    });
  });

  it('reads only the experts that were chosen', () => {
    scope(() => {
      const { x, gateUp, down } = make(new Draws(36), sizes[1]!, 'float32');
      for (const stack of [gateUp, down]) narrow(stack, 0, 2, 1).fill(NaN);
      const experts = tensor(
        Int32Array.from({ length: 32 }, (_, i) => [0, 3, 1, 0][i % 4]!),
        [16, 2],
      );
      const weights = tensor(new Float32Array(32).fill(0.5), [16, 2]);
      const out = toFloats(ops.expertMlp(x, { experts, weights }, gateUp, down, silu));
      expect(out.every(Number.isFinite)).toBe(true);
    });
  });

  it('takes no rows', () => {
    scope(() => {
      const { gateUp, down } = make(new Draws(37), sizes[0]!, 'float32');
      const routing = ops.routeTopK(ops.zeros([0, 8], 'float32'), 2, true);
      expect(ops.expertMlp(ops.zeros([0, 24], 'float32'), routing, gateUp, down, silu).shape).toEqual([
        0, 24,
      ]);
    });
  });

  it('refuses', () => {
    scope(() => {
      const { x, logits, gateUp, down } = make(new Draws(38), sizes[0]!, 'float32');
      const routing = ops.routeTopK(logits, 2, true);
      const outside = { ...routing, experts: tensor(Int32Array.of(3, 8), [1, 2]) };
      const cases: [() => unknown, string][] = [
        [
          () => ops.expertMlp(x, outside, gateUp, down, silu),
          'expected experts from 0 to 7, received 8 at 1',
        ],
        [
          () => ops.expertMlp(cast(x, 'bfloat16'), routing, gateUp, down, silu),
          'expected float32 for x, received bfloat16 [1,24]',
        ],
        [
          () => ops.expertMlp(x, routing, gateUp, gateUp, silu),
          'expected shape [8,24,16] for down, received float32 [8,32,24]',
        ],
        [
          () => ops.expertMlp(x, routing, gateUp, cast(down, 'bfloat16'), silu),
          'expected float32 for down, received bfloat16 [8,24,16]',
        ],
        [
          () => ops.expertMlp(x, routing, narrow(gateUp, 2, 0, 23), down, silu),
          'expected shape [-1,-1,24] for gateUp',
        ],
        [
          () => ops.expertMlp(x, routing, narrow(gateUp, 1, 0, 31), down, silu),
          'expected a contiguous tensor for gateUp',
        ],
        [
          () => ops.expertMlp(x, { ...routing, weights: logits }, gateUp, down, silu),
          'expected shape [1,2] for weights, received float32 [1,8]',
        ],
        [
          () => ops.expertMlp(x, routing, gateUp, down, { ...silu, accumulate: true }),
          'expected out with accumulate, received none',
        ],
        [
          () => {
            ops.expertMlp(x, routing, gateUp, down, { ...silu, out: x });
          },
          'expected an out apart from the inputs',
        ],
        [
          () => ops.expertMlp(x, routing, gateUp, down, { activation: 'tanh' as 'silu' }),
          "expected silu, gelu, gelu_tanh or quick_gelu for activation, received 'tanh'",
        ],
      ];
      for (const [run, message] of cases) expect(run).toThrow(`[expertMlp] ${message}`);
    });
  });

  it('leaves no tensor behind', () => {
    const before = native.memory().liveTensors;
    scope(() => {
      const { x, logits, gateUp, down } = make(new Draws(39), sizes[2]!, 'bfloat16');
      ops.expertMlp(x, ops.routeTopK(logits, 8, true), gateUp, down, silu);
    });
    expect(native.memory().liveTensors).toBe(before);
  });
});
