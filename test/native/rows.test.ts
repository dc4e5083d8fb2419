import { describe, expect, it } from 'vitest';
import { type DType } from '../../lib/native.js';
import {
  cast,
  narrow,
  ops,
  reshape,
  scope,
  tensor,
  toFloats,
  transpose,
  type Tensor,
} from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';

const ints = (...values: number[]): Tensor => tensor(Int32Array.from(values), [values.length]);
const iota = (n: number, ...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: n }, (_, i) => i),
    shape,
  );
const plain = (t: Tensor): number[] => Array.from(t.toTypedArray() as ArrayLike<number>);

describe('gatherRows', () => {
  it('takes rows of every dtype, bfloat16 as float32', () => {
    for (const dtype of ['float32', 'bfloat16', 'int32', 'bool'] as DType[]) {
      scope(() => {
        const table = cast(iota(12, 4, 3), dtype);
        const out = ops.gatherRows(table, ints(3, 0, 3));
        expect([out.shape, out.dtype]).toEqual([[3, 3], dtype === 'bfloat16' ? 'float32' : dtype]);
        const rows = dtype === 'bool' ? [1, 1, 1, 0, 1, 1, 1, 1, 1] : [9, 10, 11, 0, 1, 2, 9, 10, 11];
        expect(plain(out)).toEqual(rows);
      });
    }
  });

  it('takes int64 ids, tables of any rank, views, and no ids', () => {
    scope(() => {
      const ids = tensor(BigInt64Array.of(1n, 0n), [2]);
      expect(plain(ops.gatherRows(iota(8, 2, 2, 2), ids))).toEqual([4, 5, 6, 7, 0, 1, 2, 3]);
      expect(plain(ops.gatherRows(iota(3, 3), ids))).toEqual([1, 0]);
      expect(plain(ops.gatherRows(narrow(iota(12, 3, 4), 1, 1, 2), ids))).toEqual([5, 6, 1, 2]);
      expect(plain(ops.gatherRows(transpose(iota(6, 2, 3), 0, 1), ids))).toEqual([1, 4, 0, 3]);
      const pairs = reshape(ints(2, 9, 0, 9), [2, 2]);
      const everySecond = ops.gatherRows(transpose(pairs, 0, 1), ints(0));
      expect(plain(ops.gatherRows(iota(3, 3), reshape(everySecond, [2])))).toEqual([2, 0]);
      expect(ops.gatherRows(iota(12, 4, 3), ints()).shape).toEqual([0, 3]);
    });
  });

  it('names the id that has no row', () => {
    scope(() => {
      const table = iota(12, 4, 3);
      const message = (id: number): string => `[gatherRows] expected ids from 0 to 3, received ${id} at 1`;
      expect(() => ops.gatherRows(table, ints(0, 4))).toThrow(new RangeError(message(4)));
      expect(() => ops.gatherRows(table, ints(0, -1))).toThrow(new RangeError(message(-1)));
    });
  });
});

describe('scatterRows', () => {
  it('writes rows, the last one of an id, also into a view', () => {
    scope(() => {
      const dst = ops.zeros([4, 5], 'float32');
      ops.scatterRows(narrow(dst, 1, 2, 2), ints(3, 1, 3), iota(6, 3, 2));
      expect(plain(dst)).toEqual([0, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5, 0]);
    });
  });

  it('keeps the bits of every dtype', () => {
    scope(() => {
      const dst = ops.zeros([2, 1], 'bfloat16');
      ops.scatterRows(dst, ints(1), tensor(Uint16Array.of(0x7fc1), [1, 1]));
      expect(plain(dst)).toEqual([0, 0x7fc1]);
      const flags = ops.zeros([3], 'bool');
      ops.scatterRows(flags, ints(2), tensor(Uint8Array.of(1), [1]));
      expect(plain(flags)).toEqual([0, 0, 1]);
    });
  });

  it('reads rows of its own destination before it writes', () => {
    scope(() => {
      const t = iota(6, 3, 2);
      ops.scatterRows(t, ints(1, 2), narrow(t, 0, 0, 2));
      expect(plain(t)).toEqual([0, 1, 0, 1, 2, 3]);
    });
  });
});

describe('scatterAddRows', () => {
  it('sums rows of the same id in their order', () => {
    scope(() => {
      const draws = new Draws(61);
      const [rows, n, width] = [7, 500, 130];
      const source = draws.normals(n * width);
      const ids = Int32Array.from({ length: n }, () => draws.int(0, rows));
      const before = draws.normals(rows * width);
      const expected = Float32Array.from(before);
      ids.forEach((id, i) => {
        for (let j = 0; j < width; j++) expected[id * width + j]! += source[i * width + j]!;
      });
      const dst = tensor(before, [rows, width]);
      ops.scatterAddRows(dst, tensor(ids, [n]), tensor(source, [n, width]));
      expect(toFloats(dst)).toEqual(expected);
    });
  });
});

describe('cat', () => {
  it('joins along any dimension, views included', () => {
    scope(() => {
      const a = iota(4, 2, 2);
      const b = transpose(iota(6, 3, 2), 0, 1);
      expect(plain(ops.cat([a, b], 1))).toEqual([0, 1, 0, 2, 4, 2, 3, 1, 3, 5]);
      expect(plain(ops.cat([a, narrow(a, 0, 1, 1)], 0))).toEqual([0, 1, 2, 3, 2, 3]);
      const cube = iota(8, 2, 2, 2);
      expect(ops.cat([cube, cube], -1).shape).toEqual([2, 2, 4]);
      expect(plain(ops.cat([cube, cube], -1)).slice(0, 8)).toEqual([0, 1, 0, 1, 2, 3, 2, 3]);
      expect(plain(ops.cat([ints(1), ints(), ints(2, 3)], 0))).toEqual([1, 2, 3]);
    });
  });
});

describe('row ops refuse', () => {
  const zeros = (...shape: number[]): Tensor => ops.zeros(shape, 'float32');
  const cases: [() => unknown, string][] = [
    [
      () => ops.gatherRows(zeros(2, 3), zeros(2)),
      '[gatherRows] expected int32 or int64 for ids, received float32 [2]',
    ],
    [
      () => ops.gatherRows(zeros(2, 3), ops.zeros([2, 1], 'int32')),
      '[gatherRows] expected 1 dimensions for ids, received int32 [2,1]',
    ],
    [
      () => ops.gatherRows(zeros(), ints(0)),
      '[gatherRows] expected 1 dimension or more for table, received float32 []',
    ],
    [
      () => {
        ops.scatterRows(zeros(2, 3), ints(0), zeros(1, 2));
      },
      '[scatterRows] expected shape [1,3] for src, received float32 [1,2]',
    ],
    [
      () => {
        ops.scatterRows(zeros(2, 3), ints(0), ops.zeros([1, 3], 'bfloat16'));
      },
      '[scatterRows] expected float32 for src, received bfloat16 [1,3]',
    ],
    [
      () => {
        ops.scatterRows(transpose(zeros(2, 3), 0, 1), ints(0), zeros(1, 2));
      },
      '[scatterRows] expected contiguous rows for dst, received float32 [3,2] with strides [1,3]',
    ],
    [
      () => {
        ops.scatterAddRows(ops.zeros([2, 3], 'bfloat16'), ints(0), ops.zeros([1, 3], 'bfloat16'));
      },
      '[scatterAddRows] expected float32 for dst, received bfloat16 [2,3]',
    ],
    [
      () => {
        ops.scatterAddRows(zeros(2, 3), ints(2), zeros(1, 3));
      },
      '[scatterAddRows] expected ids from 0 to 1, received 2 at 0',
    ],
    [() => ops.cat([], 0), '[cat] expected at least one tensor, received none'],
    [() => ops.cat([zeros(2)], 1), '[cat] expected a dimension of float32 [2], received 1'],
    [
      () => ops.cat([zeros(2, 3), zeros(2, 4)], 0),
      '[cat] expected shape [-1,3] for tensors[1], received float32 [2,4]',
    ],
    [() => ops.cat([zeros(2), ints(1)], 0), '[cat] expected float32 for tensors[1], received int32 [1]'],
  ];
  for (const [call, message] of cases) {
    it(message, () => {
      scope(() => {
        expect(call).toThrow(message);
      });
    });
  }
});
