import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { native, packageRoot, type DType, type NativeTensor, type TensorData } from '../../lib/native.js';
import { narrow, ops, reshape, scope, tensor, transpose } from '../../lib/tensor.js';

const any = (value: unknown): never => value as never;

describe('arguments of another kind', () => {
  const cases: [unknown, string][] = [
    [undefined, 'undefined'],
    [null, 'null'],
    [true, 'true'],
    [1.5, '1.5'],
    [7n, '7n'],
    ['weights', "'weights'"],
    [Symbol('x'), 'a symbol'],
    [() => 1, 'a function'],
    [{}, 'an object'],
    [[1, 2], 'an array of 2'],
    [new Float64Array(3), 'Float64Array of 3'],
    // Has the prototype, but no memory behind it.
    [Object.create(native.NativeTensor.prototype as object), 'an object'],
    [new Proxy({}, {}), 'an object'],
    [new Date(0), 'an object'],
  ];
  for (const [value, words] of cases) {
    it(`are named: ${words}`, () => {
      scope(() => {
        const live = native.zeros([1], 'float32');
        expect(() => native.matmul(any(value), live)).toThrow(
          new TypeError(`[matmul] expected a tensor for a, received ${words}`),
        );
        live.dispose();
      });
    });
  }

  it('are named inside of arrays and options', () => {
    scope(() => {
      const t = ops.zeros([2, 2], 'float32');
      expect(() => ops.cat([t, any('x')], 0)).toThrow("[cat] expected a tensor for tensors[1], received 'x'");
      expect(() => ops.cat(any(t), 0)).toThrow(
        '[cat] expected an array of tensors for tensors, received a tensor float32 [2,2]',
      );
      expect(() => ops.matmul(t, t, { bias: any(3) })).toThrow(
        '[matmul] expected a tensor for bias, received 3',
      );
      expect(() => ops.matmul(t, t, any(3))).toThrow('[matmul] expected an object for options, received 3');
    });
  });

  const others: [() => unknown, string][] = [
    [() => ops.zeros(any(4), 'float32'), '[zeros] expected an array of sizes for shape, received 4'],
    [() => ops.zeros([1.5], 'float32'), '[zeros] expected an integer for shape[0], received 1.5'],
    [() => ops.zeros([NaN], 'float32'), '[zeros] expected an integer for shape[0], received NaN'],
    [() => ops.zeros([2, -1], 'float32'), '[tensor] expected sizes of 0 or more, received [2,-1]'],
    [
      () => ops.zeros([2 ** 40, 2 ** 40], 'float32'),
      '[tensor] expected a size that fits in memory, received [1099511627776,1099511627776]',
    ],
    [
      () => ops.zeros([2 ** 50], 'bool'),
      '[allocate] expected 1125899906842624 bytes of memory, received none',
    ],
    [
      () => ops.zeros(new Array<number>(9).fill(1), 'float32'),
      '[tensor] expected at most 8 dimensions, received more',
    ],
    [
      () => ops.zeros([1], 'float64' as DType),
      "[zeros] expected float32, bfloat16, int64, int32 or bool for dtype, received 'float64'",
    ],
    [
      () => ops.fromData(new Float64Array(2) as unknown as TensorData, 'float32', [2]),
      '[fromData] expected a Float32Array, Uint16Array, BigInt64Array, Int32Array or Uint8Array for data, ' +
        'received Float64Array of 2',
    ],
    [() => tensor(new Float32Array(5), [2, 3]), '[fromData] expected 6 elements for shape [2,3], received 5'],
    [() => ops.randomNormal([1], 1, any(1)), '[randomNormal] expected a bigint for seed, received 1'],
    [
      () => ops.randomNormal([1], 1, -1n),
      '[randomNormal] expected a bigint from 0 to 2^64 - 1 for seed, received -1n',
    ],
    [
      () => {
        native.setThreads(0);
      },
      '[setThreads] expected 1 to 1024 for count, received 0',
    ],
  ];
  for (const [call, message] of others) {
    it(message, () => {
      scope(() => {
        expect(call).toThrow(message);
      });
    });
  }
});

describe('views out of range', () => {
  const cases: [(t: NativeTensor) => unknown, string][] = [
    [(t) => narrow(t, 2, 0, 1), '[narrow] expected a dimension of float32 [2,3], received 2'],
    [
      (t) => narrow(t, 1, 2, 2),
      '[narrow] expected a range within 0 to 3 of dimension 1, received start 2 and length 2',
    ],
    [
      (t) => narrow(t, 0, -1, 1),
      '[narrow] expected a range within 0 to 2 of dimension 0, received start -1 and length 1',
    ],
    [
      (t) => narrow(t, 0, 2 ** 52, 2 ** 52),
      '[narrow] expected a range within 0 to 2 of dimension 0, received start 4503599627370496 and length ' +
        '4503599627370496',
    ],
    [(t) => transpose(t, 0, -3), '[transpose] expected a dimension of float32 [2,3], received -3'],
    [(t) => reshape(t, [4]), '[reshape] expected a shape of 6 elements, received [4]'],
    [(t) => reshape(t, [-1, 4]), '[reshape] expected a shape of 6 elements, received [-1,4]'],
    [
      (t) => reshape(t, [-1, -1]),
      '[reshape] expected sizes of 0 or more and at most one -1, received [-1,-1]',
    ],
    [
      (t) => reshape(transpose(t, 0, 1), [6]),
      '[reshape] expected a contiguous tensor, received float32 [3,2] with strides [1,3]',
    ],
    [
      (t) => {
        t.copyFrom(narrow(t, 0, 0, 1));
      },
      '[copyFrom] expected shape [2,3] for source, received float32 [1,3]',
    ],
    [
      (t) => {
        t.fill(any('1'));
      },
      "[fill] expected a number for value, received '1'",
    ],
  ];
  for (const [call, message] of cases) {
    it(message, () => {
      scope(() => {
        const t = ops.zeros([2, 3], 'float32');
        expect(() => call(t)).toThrow(new TypeError(message));
      });
    });
  }
});

describe('a disposed tensor', () => {
  const gone = (): NativeTensor => {
    const t = native.zeros([2, 3], 'bfloat16');
    t.dispose();
    return t;
  };

  it('is refused as an argument by name', () => {
    scope(() => {
      const t = ops.zeros([3, 3], 'float32');
      const words = 'received a disposed tensor bfloat16 [2,3]';
      expect(() => ops.matmul(t, gone())).toThrow(`[matmul] expected a live tensor for b, ${words}`);
      expect(() => ops.cat([t, gone()], 0)).toThrow(`[cat] expected a live tensor for tensors[1], ${words}`);
      expect(() => ops.matmul(t, t, { bias: gone() })).toThrow(
        `[matmul] expected a live tensor for bias, ${words}`,
      );
    });
  });

  it('refuses its methods', () => {
    const calls: Record<string, (t: NativeTensor) => unknown> = {
      narrow: (t) => t.narrow(0, 0, 1),
      reshape: (t) => t.reshape([6]),
      transpose: (t) => t.transpose(0, 1),
      alias: (t) => t.alias(),
      cast: (t) => t.cast('float32'),
      clone: (t) => t.clone(),
      copyFrom: (t) => {
        t.copyFrom(any(t));
      },
      fill: (t) => {
        t.fill(0);
      },
      toTypedArray: (t) => t.toTypedArray(),
    };
    for (const [name, call] of Object.entries(calls)) {
      expect(() => call(gone()), name).toThrow(
        /^\[\w+\] expected a live tensor.*disposed tensor bfloat16 \[2,3\]$/,
      );
    }
  });
});

describe('handles', () => {
  it('are made by the functions of the addon only', () => {
    const Handle = native.NativeTensor as unknown as new (...args: unknown[]) => NativeTensor;
    expect(() => new Handle()).toThrow('[NativeTensor] expected fromData or zeros, received new');
    expect(() => new Handle([2])).toThrow(TypeError);
    const t = native.zeros([1], 'float32');
    // eslint-disable-next-line @typescript-eslint/unbound-method
    const { narrow: method } = t;
    expect(() => method.call({} as NativeTensor, 0, 0, 1)).toThrow(TypeError);
    t.dispose();
  });

  it('that were forgotten go with the garbage', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const before = native.memory();
    (() => {
      for (let i = 0; i < 50; i++) native.zeros([1000], 'float32').narrow(0, 0, 1);
    })();
    expect(native.memory().liveTensors).toBeGreaterThan(before.liveTensors);
    for (let i = 0; i < 20 && native.memory().liveTensors > before.liveTensors; i++) {
      collect();
      await new Promise(setImmediate);
    }
    expect(native.memory()).toMatchObject({
      liveBytes: before.liveBytes,
      liveTensors: before.liveTensors,
    });
  });

  it('leave nothing behind when an op fails', () => {
    const before = native.memory();
    scope(() => {
      const t = ops.zeros([100, 100], 'float32');
      for (let i = 0; i < 10; i++)
        expect(() => ops.matmul(t, ops.zeros([3, 3], 'float32'))).toThrow(TypeError);
    });
    expect(native.memory()).toMatchObject({ liveBytes: before.liveBytes, liveTensors: before.liveTensors });
  });
});

describe('worker threads', () => {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { createRequire } = require('node:module');
    const native = createRequire(workerData.root + 'package.json')('node-gyp-build')(workerData.root);
    const a = native.randomNormal([64, 96], 1, 3n);
    const b = native.randomNormal([80, 96], 1, 4n);
    const sums = [];
    for (let i = 0; i < 20; i++) {
      const out = native.matmul(a, b, { transposeB: true });
      sums.push(out.toTypedArray().reduce((sum, x) => sum + x, 0));
      out.dispose();
    }
    let message = '';
    try {
      native.matmul(a, {});
    } catch (error) {
      message = error.message;
    }
    // Neither is disposed: the end of the thread frees them.
    parentPort.postMessage({ sums, message });
  `;

  it('load the addon beside each other, fail on their own, and free what they held at their end', async () => {
    const before = native.memory();
    const workers = [0, 1, 2].map(
      () => new Worker(source, { eval: true, workerData: { root: packageRoot } }),
    );
    const results = await Promise.all(
      workers.map(async (worker) => {
        const exited = new Promise((resolve) => worker.once('exit', resolve));
        const message = await new Promise<{ sums: number[]; message: string }>((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
        });
        await exited;
        return message;
      }),
    );
    const sums = results.flatMap((result) => result.sums);
    expect(sums).toHaveLength(60);
    expect(new Set(sums).size).toBe(1);
    for (const { message } of results) {
      expect(message).toBe('[matmul] expected a tensor for b, received an object');
    }
    expect(native.memory()).toMatchObject({ liveBytes: before.liveBytes, liveTensors: before.liveTensors });
  });
});
