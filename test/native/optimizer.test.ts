import { describe, expect, it } from 'vitest';
import { native, type AdamWOptions } from '../../lib/native.js';
import { cast, ops, scope, tensor, toFloats, type Tensor } from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { expectClose } from '../helpers/reference.js';

describe('gradNorm', () => {
  it('is the Euclidean norm over all tensors', () => {
    scope(() => {
      const draws = new Draws(1);
      const data = [1, 17, 2048, 2049, 70001].map((size) => draws.normals(size, 3));
      const expected = Math.sqrt(
        data.reduce((sum, x) => x.reduce((part, value) => part + value * value, sum), 0),
      );
      expect(ops.gradNorm(data.map((x) => tensor(x, [x.length])))).toBeCloseTo(expected, 8);
      expect(ops.gradNorm([])).toBe(0);
    });
  });

  it('does not depend on the number of threads', () => {
    scope(() => {
      const x = tensor(new Draws(2).normals(300001), [300001]);
      const { threads } = native.info();
      const norms = [1, 2, 3].map((count) => {
        native.setThreads(count);
        return ops.gradNorm([x]);
      });
      native.setThreads(threads);
      expect(new Set(norms).size).toBe(1);
    });
  });

  it('holds squares beyond float32', () => {
    scope(() => {
      expect(ops.gradNorm([tensor(Float32Array.of(3e30, 4e30), [2])])).toBeCloseTo(5e30, -24);
    });
  });

  it('lets NaN and infinity through', () => {
    scope(() => {
      const x = new Float32Array(5000);
      x[4999] = NaN;
      expect(ops.gradNorm([tensor(x, [5000])])).toBeNaN();
      x[4999] = -Infinity;
      expect(ops.gradNorm([tensor(x, [5000])])).toBe(Infinity);
    });
  });

  it('refuses by name', () => {
    scope(() => {
      const good = ops.zeros([2], 'float32');
      expect(() => ops.gradNorm([good, ops.zeros([2], 'bfloat16')])).toThrow(
        /\[gradNorm\] expected float32 for grads\[1\], received bfloat16 \[2\]/,
      );
    });
  });
});

interface State {
  param: Float64Array;
  m: Float64Array;
  v: Float64Array;
}

/** AdamW as its paper has it: decay of the weights apart from the gradient, both moments corrected for their start. */
function adamWReference(state: State, grad: ArrayLike<number>, options: AdamWOptions): void {
  const { lr, beta1, beta2, eps, weightDecay, step, gradScale } = options;
  for (let i = 0; i < state.param.length; i++) {
    const g = grad[i]! * gradScale;
    state.m[i] = beta1 * state.m[i]! + (1 - beta1) * g;
    state.v[i] = beta2 * state.v[i]! + (1 - beta2) * g * g;
    const mean = state.m[i]! / (1 - beta1 ** step);
    const square = state.v[i]! / (1 - beta2 ** step);
    state.param[i]! -= lr * (mean / (Math.sqrt(square) + eps) + weightDecay * state.param[i]!);
  }
}

describe('adamW', () => {
  const options = { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.1, gradScale: 0.5 };
  const sizes = [1, 5, 2048, 2049, 40003];

  it('follows the float64 reference and writes the copies', () => {
    scope(() => {
      const draws = new Draws(3);
      const start = sizes.map((size) => draws.normals(size));
      const states = start.map((x): State => ({
        param: Float64Array.from(x),
        m: new Float64Array(x.length),
        v: new Float64Array(x.length),
      }));
      const params = start.map((x) => tensor(x, [x.length]));
      const [m, v] = [0, 1].map(() => sizes.map((size) => ops.zeros([size], 'float32'))) as [
        Tensor[],
        Tensor[],
      ];
      const compute = sizes.map((size, i) =>
        i % 3 === 0 ? undefined : ops.zeros([size], i % 3 === 1 ? 'bfloat16' : 'float32'),
      );
      for (let step = 1; step <= 5; step++) {
        const grads = sizes.map((size) => draws.normals(size, 0.01 * step));
        ops.adamW(
          params,
          grads.map((g) => tensor(g, [g.length])),
          m,
          v,
          compute,
          { ...options, step },
        );
        states.forEach((state, i) => {
          adamWReference(state, grads[i]!, { ...options, step });
        });
      }
      states.forEach((state, i) => {
        expectClose(toFloats(params[i]!), state.param, 1e-6, `param ${i}`);
        expectClose(toFloats(m[i]!), state.m, 1e-6, `m ${i}`);
        expectClose(toFloats(v[i]!), state.v, 1e-6, `v ${i}`);
        const copy = compute[i];
        if (copy) expect(copy.toTypedArray()).toEqual(cast(params[i]!, copy.dtype).toTypedArray());
      });
    });
  });

  it('takes the step itself, not its rounding, from beta2', () => {
    scope(() => {
      const [param, grad, m, v] = [0, 1, 0, 0].map((x) => tensor(Float32Array.of(x), [1])) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      ops.adamW([param], [grad], [m], [v], [undefined], { ...options, gradScale: 1, step: 1 });
      expect(toFloats(v)[0]).toBe(Math.fround(1 - 0.999));
      expect(toFloats(param)[0]).toBeCloseTo(-1e-2, 8);
    });
  });

  it.each<[string, (list: Record<string, unknown[]>) => Record<string, unknown>, RegExp]>([
    [
      'count',
      (list) => ({ m: list['m']!.slice(1) }),
      /\[adamW\] expected 2 tensors, one per parameter, for m, received 1/,
    ],
    [
      'shape',
      (list) => ({ v: [list['v']![0], ops.zeros([4], 'float32')] }),
      /shape \[3\] for v\[1\], received float32 \[4\]/,
    ],
    [
      'element type',
      () => ({ params: [ops.zeros([2], 'float32'), ops.zeros([3], 'bfloat16')] }),
      /float32 for params\[1\]/,
    ],
    [
      'copy',
      () => ({ compute: [undefined, ops.zeros([3], 'int32')] }),
      /float32 or bfloat16 for compute\[1\]/,
    ],
    ['step', () => ({ options: { ...options, step: 0 } }), /1 or more for step, received 0/],
    [
      'option',
      () => ({ options: { ...options, step: 1, lr: undefined } }),
      /a number for lr, received undefined/,
    ],
  ])('refuses by name: %s', (_, change, message) => {
    scope(() => {
      const list = (): Tensor[] => [ops.zeros([2], 'float32'), ops.zeros([3], 'float32')];
      const lists = { params: list(), grads: list(), m: list(), v: list(), compute: [undefined, undefined] };
      const args: Record<string, unknown> = { ...lists, options: { ...options, step: 1 }, ...change(lists) };
      const adamW = ops.adamW as (...values: unknown[]) => void;
      expect(() => {
        adamW(args['params'], args['grads'], args['m'], args['v'], args['compute'], args['options']);
      }).toThrow(message);
    });
  });
});
