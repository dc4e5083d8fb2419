import { describe, expect, it } from 'vitest';
import { native } from '../../lib/native.js';
import { narrow, ops, scope, tensor, toFloats, transpose, type Tensor } from '../../lib/tensor.js';
import { expectSameBits } from '../helpers/reference.js';

const random = (seed: number, ...shape: number[]): Tensor => ops.randomNormal(shape, 1, BigInt(seed));

interface Operation {
  /** Inputs that `out` must not overlap; the first has the shape of the result. */
  inputs: () => Tensor[];
  plain: (...inputs: Tensor[]) => Tensor;
  into: (out: Tensor, ...inputs: Tensor[]) => unknown;
}

const ints = (...values: number[]): Tensor => tensor(Int32Array.from(values), [values.length]);

const operations: Record<string, Operation> = {
  matmul: {
    inputs: () => [random(1, 5, 24), random(2, 24, 24)],
    plain: (a, b) => ops.matmul(a, b, { transposeB: true }),
    into: (out, a, b) => {
      ops.matmul(a, b, { transposeB: true, out });
    },
  },
  gatedActivation: {
    inputs: () => [random(3, 5, 24), random(4, 5, 24)],
    plain: (gate, up) => ops.gatedActivation(gate, up, 'silu'),
    into: (out, gate, up) => {
      ops.gatedActivation(gate, up, 'silu', out);
    },
  },
  rmsNorm: {
    inputs: () => [random(5, 5, 24), random(6, 24)],
    plain: (x, weight) => ops.rmsNorm(x, weight, 1e-6),
    into: (out, x, weight) => {
      ops.rmsNorm(x, weight, 1e-6, out);
    },
  },
  rope: {
    inputs: () => [random(7, 5, 3, 8), random(8, 5, 4), random(9, 5, 4)],
    plain: (x, cos, sin) => ops.rope(x, cos, sin),
    into: (out, x, cos, sin) => {
      ops.rope(x, cos, sin, false, out);
    },
  },
  attention: {
    inputs: () => [random(10, 3, 4, 8), random(11, 9, 2, 8), random(12, 9, 2, 8)],
    plain: (q, k, v) => ops.attention(q, k, v, ints(0, 0, 2), ints(7, 8, 9)).out,
    into: (out, q, k, v) => {
      ops.attention(q, k, v, ints(0, 0, 2), ints(7, 8, 9), { out });
    },
  },
};

describe.each(Object.entries(operations))('%s with out', (name, { inputs, plain, into }) => {
  it('writes what it would return, and makes no handle', () => {
    scope(() => {
      const given = inputs();
      const expected = plain(...given);
      const out = ops.zeros(expected.shape, 'float32');
      const live = native.memory().liveTensors;
      const helpers = name === 'attention' ? 2 : 0;
      expect(into(out, ...given)).toBeUndefined();
      expect(native.memory().liveTensors).toBe(live + helpers);
      expectSameBits(toFloats(out), toFloats(expected), name);
    });
  });

  it('refuses another shape, type or layout', () => {
    scope(() => {
      const given = inputs();
      const { shape } = plain(...given);
      const [rows, ...rest] = shape as [number, ...number[]];
      const turned = transpose(ops.zeros([...rest, rows], 'float32'), 0, rest.length);
      for (const out of [
        ops.zeros([rows + 1, ...rest], 'float32'),
        ops.zeros(shape, 'bfloat16'),
        rest.length === 1 ? turned : transpose(turned, 1, 2),
      ]) {
        expect(() => into(out, ...given)).toThrow(new RegExp(`^\\[${name}\\] expected .* for out`));
      }
    });
  });
});

it('out must lie apart from what is read', () => {
  scope(() => {
    for (const [name, { inputs, into }] of Object.entries(operations)) {
      if (name === 'matmul') continue; // It copies what overlaps.
      const given = inputs();
      expect(() => into(given[0]!, ...given), name).toThrow(
        `[${name}] expected an out apart from the inputs, received memory of float32`,
      );
    }
    const [q, k, v] = operations['attention']!.inputs();
    const both = random(13, 4, 4, 8);
    const extra = { k: narrow(both, 1, 0, 2), v: narrow(both, 1, 2, 2), rows: ints(0, 1, 2) };
    expect(() => {
      ops.attention(q!, k!, v!, ints(0, 0, 0), ints(1, 1, 1), {
        extras: [extra],
        out: narrow(both, 0, 0, 3),
      });
    }).toThrow('[attention] expected an out apart from the inputs');
  });
});
