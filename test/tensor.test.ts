import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { native } from '../lib/native.js';
import { dispose, isTensor, keep, narrow, ops, scope, tensor, toFloats, toInts } from '../lib/tensor.js';

const live = (): number => native.memory().liveTensors;
let atStart = 0;

beforeEach(() => {
  atStart = live();
});
afterEach(() => {
  expect(live()).toBe(atStart);
});

const vector = (...values: number[]) => tensor(Float32Array.from(values), [values.length]);

describe('scope', () => {
  it('disposes what is made in it, views included, and hands its result to the caller', () => {
    const sum = scope(() => {
      const a = vector(1, 2, 3);
      const part = narrow(a, 0, 1, 2);
      expect(live()).toBe(atStart + 2);
      return ops.add(part, part);
    });
    expect(live()).toBe(atStart + 1);
    expect([...toFloats(sum)]).toEqual([4, 6]);
    dispose(sum);
  });

  it('finds tensors in arrays, maps and plain objects of its result', () => {
    const result = scope(() => ({
      list: [vector(1), [vector(2)]],
      map: new Map([['a', vector(3)]]),
      data: new Float32Array(3),
      nothing: null,
    }));
    expect(live()).toBe(atStart + 3);
    dispose(result);
  });

  it('passes results of an inner scope to the outer one', () => {
    scope(() => {
      const inner = scope(() => vector(1, 2));
      expect(inner.disposed).toBe(false);
      expect(live()).toBe(atStart + 1);
    });
  });

  it('disposes everything when its body throws', () => {
    expect(() => {
      scope(() => {
        vector(1);
        scope(() => {
          vector(2);
          throw new Error('no');
        });
      });
    }).toThrow('no');
  });

  it('leaves tensors that were made elsewhere to their owner', () => {
    const weight = vector(1, 2);
    scope(() => {
      expect(scope(() => weight)).toBe(weight);
    });
    expect(weight.disposed).toBe(false);
    dispose(weight);
  });

  it('lets go of what is kept, also when it is returned', () => {
    const kept = scope(() => scope(() => keep(vector(1))));
    scope(() => kept);
    expect(kept.disposed).toBe(false);
    dispose(kept);
    expect(kept.disposed).toBe(true);
  });

  it('returns other values as they are', () => {
    expect(scope(() => toFloats(vector(1, 2)))).toEqual(Float32Array.of(1, 2));
    expect(scope(() => null)).toBeNull();
  });
});

describe('isTensor', () => {
  it('knows handles of the addon from everything else', () => {
    scope(() => {
      expect(isTensor(vector(1))).toBe(true);
    });
    for (const other of [
      null,
      undefined,
      1,
      'x',
      {},
      [],
      Object.create(null),
      function NativeTensor() {
        return 1;
      },
      new Float32Array(1),
    ]) {
      expect(isTensor(other)).toBe(false);
    }
  });
});

describe('typed access', () => {
  it('names the dtype that came', () => {
    scope(() => {
      const ints = tensor(Int32Array.of(1, 2), [2]);
      expect([...toInts(ints)]).toEqual([1, 2]);
      expect(() => toFloats(ints)).toThrow(new TypeError('Expected a float32 tensor, received int32'));
      expect(() => toInts(vector(1))).toThrow(new TypeError('Expected an int32 tensor, received float32'));
    });
  });

  it('takes the dtype from the array', () => {
    scope(() => {
      const made = [
        tensor(new Float32Array(1), [1]),
        tensor(new Uint16Array(1), [1]),
        tensor(new BigInt64Array(1), [1]),
        tensor(new Int32Array(1), [1]),
        tensor(new Uint8Array(1), [1]),
      ];
      expect(made.map((t) => t.dtype)).toEqual(['float32', 'bfloat16', 'int64', 'int32', 'bool']);
    });
  });
});
