import { describe, expect, it } from 'vitest';
import { Parameter, Tape } from '../lib/autograd.js';
import { native } from '../lib/native.js';
import { cast, finish, keep, narrow, ops, scope, tensor, toFloats } from '../lib/tensor.js';
import { Draws } from './helpers/random.js';
import { expectClose } from './helpers/reference.js';

const matrix = (draws: Draws, rows: number, columns: number) =>
  tensor(draws.normals(rows * columns), [rows, columns]);

describe.each(['float32', 'bfloat16'] as const)('gradients of weights, %s', (compute) => {
  // Together fewer rows than are waited for, and more, in parts that end in between.
  it.each([[[5, 40, 1]], [[1500, 700, 30]], [[2100, 2100]]])(
    'of parts %j equal that of all rows at once',
    (parts) => {
      const before = native.memory().liveTensors;
      const draws = new Draws(parts.length);
      const [rows, inputs, outputs] = [parts.reduce((sum, n) => sum + n, 0), 24, 40];
      const a = Parameter.of('a', matrix(draws, outputs, inputs), { compute });
      const c = Parameter.of('c', matrix(draws, outputs, inputs), { compute });
      scope(() => {
        const [x, dy] = [matrix(draws, rows, inputs), matrix(draws, rows, outputs)];
        for (const parameter of [a, c]) {
          parameter.grad.fill(NaN);
          parameter.zeroGrad();
        }
        const tape = new Tape();
        let first = 0;
        for (const n of parts) {
          const input = tape.constant(narrow(x, 0, first, n));
          for (const parameter of [a, c]) {
            const y = tape.linear(input, parameter);
            y.grad = ops.add(narrow(dy, 0, first, n), ops.zeros([n, outputs], 'float32'));
            keep(y.grad);
          }
          first += n;
        }
        finish(tape.backward());
        const expected = toFloats(ops.matmul(cast(dy, compute), cast(x, compute), { transposeA: true }));
        expectClose(toFloats(a.grad), expected, 1e-5, 'a');
        expectClose(toFloats(c.grad), expected, 1e-5, 'c');
      });
      a.dispose();
      c.dispose();
      expect(native.memory().liveTensors).toBe(before);
    },
  );
});

describe('Parameter', () => {
  it('multiplies by the weights as they are now, whoever holds a part of them', () => {
    scope(() => {
      const draws = new Draws(8);
      const whole = Parameter.of('w', matrix(draws, 130, 70));
      const part = whole.part('part', [64, 66], [30, 40]);
      const x = matrix(draws, 20, 40);
      const product = () => {
        const tape = new Tape(false);
        return toFloats(tape.linear(tape.constant(x), part).value);
      };
      const expected = () =>
        toFloats(ops.matmul(x, narrow(narrow(whole.value, 0, 64, 66), 1, 30, 40), { transposeB: true }));
      product();
      whole.load(matrix(draws, 130, 70));
      expectClose(product(), expected(), 1e-6, 'the whole loaded');
      part.load(matrix(draws, 66, 40));
      expectClose(product(), expected(), 1e-6, 'the part loaded');
      part.dispose();
      whole.dispose();
    });
  });

  it('adds over batches, forgets on zeroGrad, and is zero where nothing was added', () => {
    const draws = new Draws(7);
    const weight = Parameter.of('w', matrix(draws, 3, 4));
    scope(() => {
      const x = matrix(draws, 6, 4);
      const batch = () => {
        const tape = new Tape();
        const y = tape.linear(tape.constant(x), weight);
        y.grad = keep(ops.add(y.value, y.value));
        finish(tape.backward());
      };
      batch();
      const once = toFloats(weight.grad);
      batch();
      expectClose(
        toFloats(weight.grad),
        once.map((value) => 2 * value),
        1e-6,
        'two batches',
      );
      weight.zeroGrad();
      batch();
      expect(toFloats(weight.grad)).toEqual(once);
      weight.zeroGrad();
      expect(new Set(toFloats(weight.settleGrad()))).toEqual(new Set([0]));
    });
    weight.dispose();
  });
});
