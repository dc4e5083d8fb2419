import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native, type DType, type NativeTensor, type TensorData } from '../../lib/native.js';
import { cast, clone, narrow, ops, reshape, scope, tensor, toFloats, transpose } from '../../lib/tensor.js';

const iota = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => i);
const bits = (x: number): number => new Uint32Array(Float32Array.of(x).buffer)[0]!;
const ofBits = (x: number): number => new Float32Array(Uint32Array.of(x).buffer)[0]!;
const plain = (t: NativeTensor): number[] => Array.from(t.toTypedArray() as ArrayLike<number>);

describe('making tensors', () => {
  it('keeps the elements of every dtype', () => {
    const arrays: [TensorData, DType][] = [
      [Float32Array.of(1.5, -0, NaN, Infinity), 'float32'],
      [Uint16Array.of(0, 1, 0x3f80, 0xffff), 'bfloat16'],
      [BigInt64Array.of(1n, -1n, 2n ** 62n, -(2n ** 63n)), 'int64'],
      [Int32Array.of(1, -1, 2 ** 31 - 1, -(2 ** 31)), 'int32'],
      [Uint8Array.of(0, 1, 1, 0), 'bool'],
    ];
    for (const [data, dtype] of arrays) {
      scope(() => {
        const t = tensor(data, [2, 2]);
        expect([t.dtype, t.shape, t.size, t.disposed]).toEqual([dtype, [2, 2], 4, false]);
        expect(t.toTypedArray()).toEqual(data);
        expect(t.toTypedArray()).not.toBe(data);
      });
    }
  });

  it('converts when another dtype is asked for, and makes flags 0 or 1', () => {
    scope(() => {
      expect(tensor(Float32Array.of(1, -2), [2], 'bfloat16').toTypedArray()).toEqual(
        Uint16Array.of(0x3f80, 0xc000),
      );
      expect(tensor(Float32Array.of(1.9, -1.9), [2], 'int64').toTypedArray()).toEqual(
        BigInt64Array.of(1n, -1n),
      );
      expect(tensor(Uint8Array.of(0, 7), [2]).toTypedArray()).toEqual(Uint8Array.of(0, 1));
    });
  });

  it('has scalars and empty tensors', () => {
    scope(() => {
      expect(plain(tensor(Float32Array.of(3), []))).toEqual([3]);
      const empty = ops.zeros([0, 4], 'float32');
      expect([empty.size, empty.toTypedArray().length]).toEqual([0, 0]);
      expect(clone(transpose(empty, 0, 1)).shape).toEqual([4, 0]);
    });
  });

  it('starts zeros at zero, also on memory that was used before', () => {
    for (const size of [3, 5000]) {
      native.fromData(new Float32Array(size).fill(7), 'float32', [size]).dispose();
      const zeros = native.zeros([size], 'float32');
      expect(plain(zeros).every((x) => x === 0)).toBe(true);
      zeros.dispose();
    }
  });
});

describe('views', () => {
  it('narrow, transpose and reshape share memory', () => {
    scope(() => {
      const t = tensor(iota(24), [2, 3, 4]);
      const middle = narrow(t, 1, 1, 1);
      expect([middle.shape, plain(middle)]).toEqual([
        [2, 1, 4],
        [4, 5, 6, 7, 16, 17, 18, 19],
      ]);
      expect(plain(narrow(t, -1, 3, 1))).toEqual([3, 7, 11, 15, 19, 23]);
      const turned = transpose(t, 0, 2);
      expect(turned.shape).toEqual([4, 3, 2]);
      expect(plain(turned).slice(0, 6)).toEqual([0, 12, 4, 16, 8, 20]);
      expect(reshape(t, [4, -1]).shape).toEqual([4, 6]);
      middle.fill(-1);
      expect(plain(t).filter((x) => x === -1)).toHaveLength(8);
    });
  });

  it('outlive the tensor they were made of', () => {
    const t = native.fromData(iota(4), 'float32', [4]);
    const view = t.narrow(0, 2, 2);
    const same = t.alias();
    t.dispose();
    same.fill(5);
    expect(plain(view)).toEqual([5, 5]);
    view.dispose();
    same.dispose();
  });

  it('cast and clone give contiguous copies of any view', () => {
    scope(() => {
      const t = tensor(iota(60), [3, 4, 5]);
      const view = narrow(transpose(t, 0, 1), 2, 1, 3);
      const copy = clone(view);
      expect(plain(copy)).toEqual(plain(view));
      expect(plain(cast(view, 'int32'))).toEqual(plain(view));
      copy.fill(0);
      expect(plain(view)[0]).toBe(1);
    });
  });
});

describe('copyFrom', () => {
  it('writes into views and converts', () => {
    scope(() => {
      const t = ops.zeros([3, 4], 'float32');
      narrow(t, 1, 1, 2).copyFrom(tensor(Int32Array.of(1, 2, 3, 4, 5, 6), [3, 2]));
      expect(plain(t)).toEqual([0, 1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0]);
    });
  });

  it('copies overlapping views as if through a third place', () => {
    scope(() => {
      const t = tensor(iota(3000), [3000]);
      narrow(t, 0, 1, 2999).copyFrom(narrow(t, 0, 0, 2999));
      expect(plain(t).slice(0, 4)).toEqual([0, 0, 1, 2]);
      expect(plain(t)[2999]).toBe(2998);
      const square = tensor(iota(9), [3, 3]);
      square.copyFrom(transpose(square, 0, 1));
      expect(plain(square)).toEqual([0, 3, 6, 1, 4, 7, 2, 5, 8]);
    });
  });
});

describe('cast', () => {
  it('rounds float32 to bfloat16 to nearest even, as the definition says', () => {
    const cases = [0, -0, 1, 1.00390625, 1.01171875, ofBits(0x3f808001), ofBits(0x7f7fffff), 1e-45, -1e-39];
    const random = Array.from({ length: 3000 }, (_, i) => ofBits((i * 2654435761) >>> 0));
    const values = Float32Array.from([...cases, ...random.filter((x) => !Number.isNaN(x))]);
    const expected = Uint16Array.from(values, (x) => {
      const lower = bits(x) >>> 16;
      const rest = bits(x) & 0xffff;
      return rest > 0x8000 || (rest === 0x8000 && lower % 2 === 1) ? lower + 1 : lower;
    });
    scope(() => {
      expect(tensor(values, [values.length], 'bfloat16').toTypedArray()).toEqual(expected);
    });
  });

  it('keeps NaN and infinities', () => {
    scope(() => {
      // A NaN whose payload is in the low half only must not become an infinity.
      const t = tensor(Float32Array.of(Infinity, -Infinity, NaN, ofBits(0x7f800001)), [4]);
      expect(plain(cast(cast(t, 'bfloat16'), 'float32'))).toEqual([Infinity, -Infinity, NaN, NaN]);
    });
  });

  it('saturates integers, turns NaN to 0, and tests bools against zero', () => {
    scope(() => {
      const t = tensor(Float32Array.of(3e9, -3e9, NaN, -2.7, 0.3, 0), [6]);
      expect(plain(cast(t, 'int32'))).toEqual([2147483647, -2147483648, 0, -2, 0, 0]);
      expect(plain(cast(t, 'bool'))).toEqual([1, 1, 1, 1, 1, 0]);
      const large = tensor(Float32Array.of(1e30, -1e30), [2]);
      expect(cast(large, 'int64').toTypedArray()).toEqual(BigInt64Array.of(2n ** 63n - 1n, -(2n ** 63n)));
    });
  });
});

describe('randomNormal', () => {
  it('follows Philox4x32-10 and Box-Muller', () => {
    // Known answer of Random123 for counter 0 and key 0.
    const words = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8].map((word) => (word + 0.5) / 2 ** 32);
    const expected = [0, 2].flatMap((i) => {
      const radius = Math.sqrt(-2 * Math.log(words[i]!));
      const angle = 2 * Math.PI * words[i + 1]!;
      return [radius * Math.cos(angle), radius * Math.sin(angle)];
    });
    scope(() => {
      const values = toFloats(ops.randomNormal([4], 2, 0n));
      expected.forEach((z, i) => {
        expect(values[i]).toBeCloseTo(2 * z, 6);
      });
    });
  });

  it('does not depend on the number of threads or the size, and does on the seed', () => {
    const { threads } = native.info();
    scope(() => {
      const long = toFloats(ops.randomNormal([100_001], 1, 5n));
      native.setThreads(threads + 1);
      expect(toFloats(ops.randomNormal([100_001], 1, 5n))).toEqual(long);
      native.setThreads(threads);
      expect(toFloats(ops.randomNormal([7], 1, 5n))).toEqual(long.slice(0, 7));
      expect(toFloats(ops.randomNormal([7], 1, 6n))).not.toEqual(long.slice(0, 7));
      const mean = long.reduce((sum, x) => sum + x, 0) / long.length;
      const variance = long.reduce((sum, x) => sum + x * x, 0) / long.length;
      expect(Math.abs(mean)).toBeLessThan(0.015);
      expect(Math.abs(variance - 1)).toBeLessThan(0.02);
    });
  });
});

describe('memory', () => {
  it('counts live bytes, their peak, and handles', () => {
    const before = native.memory();
    native.resetPeakMemory();
    const a = native.zeros([1000], 'float32');
    const view = a.narrow(0, 0, 10);
    const b = native.zeros([3], 'bool');
    expect(native.memory()).toEqual({
      liveBytes: before.liveBytes + 4003,
      peakBytes: before.liveBytes + 4003,
      liveTensors: before.liveTensors + 3,
    });
    b.dispose();
    a.dispose();
    a.dispose();
    expect(native.memory().liveBytes).toBe(before.liveBytes + 4000);
    view.dispose();
    expect(native.memory()).toEqual({ ...before, peakBytes: before.liveBytes + 4003 });
  });

  it('describes a tensor after its memory is gone', () => {
    const t = native.zeros([2, 3], 'int32');
    t.dispose();
    expect([t.disposed, t.shape, t.dtype, t.size]).toEqual([true, [2, 3], 'int32', 6]);
  });
});

describe('info', () => {
  it('tells version, library, instruction set and threads', () => {
    const info = native.info();
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(info.version).toBe(version);
    expect(info.onednn).toMatch(/^\d+\.\d+\.\d+$/);
    expect(['avx512_bf16', 'avx512', 'avx2', 'generic']).toContain(info.isa);
    expect(info.bfloat16Gemm).toBe(info.isa === 'avx512_bf16');
    native.setThreads(3);
    expect(native.info().threads).toBe(3);
    native.setThreads(info.threads);
  });
});

describe('files', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'eyas-tensor-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('writes at an offset and reads back, views and casts included', () => {
    const path = join(folder, 'tensors.bin');
    scope(() => {
      const fd = openSync(path, 'w');
      const t = tensor(iota(12), [3, 4]);
      expect(native.writeTensor(fd, 5, transpose(t, 0, 1))).toBe(48);
      expect(native.writeTensor(fd, 53, cast(t, 'bfloat16'))).toBe(24);
      closeSync(fd);
      expect(plain(ops.readTensor(path, 5, [4, 3], 'float32', 'float32'))).toEqual(plain(transpose(t, 0, 1)));
      expect(plain(ops.readTensor(path, 53, [3, 4], 'bfloat16', 'float32'))).toEqual(plain(t));
      expect(plain(ops.readTensor(path, 5, [12], 'float32', 'int32'))).toEqual(plain(transpose(t, 0, 1)));
      expect(readFileSync(path)).toHaveLength(77);
    });
  });

  it('widens every float16', () => {
    const path = join(folder, 'half.bin');
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    writeFileSync(path, halves);
    const expected = Array.from(halves, (h) => {
      const exponent = (h >> 10) & 31;
      const fraction = h & 1023;
      const sign = h >> 15 ? -1 : 1;
      if (exponent === 31) return fraction ? NaN : sign * Infinity;
      return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
    });
    scope(() => {
      expect(plain(ops.readTensor(path, 0, [65536], 'float16', 'float32'))).toEqual(expected);
      expect(ops.readTensor(path, 0, [4], 'float16', 'bfloat16').dtype).toBe('bfloat16');
    });
  });

  it('names file, offset and bytes when a file is too short, missing or not writable', () => {
    const path = join(folder, 'short.bin');
    writeFileSync(path, new Uint8Array(10));
    const live = native.memory();
    expect(() => native.readTensor(path, 4, [2, 2], 'float32', 'float32')).toThrow(
      `[readTensor] expected 16 bytes at byte 4 of ${path}, received 6`,
    );
    expect(() => native.readTensor(join(folder, 'none'), 0, [1], 'float32', 'float32')).toThrow(
      `[readTensor] expected a readable file, received ${join(folder, 'none')}: No such file or directory`,
    );
    expect(() => native.readTensor(path, -1, [1], 'float32', 'float32')).toThrow(
      '[readTensor] expected 0 or more for byteOffset, received -1',
    );
    expect(() => native.readTensor(path, 0, [1], 'float64' as DType, 'float32')).toThrow(
      "[readTensor] expected float16, float32, bfloat16, int64, int32 or bool for fileDtype, received 'float64'",
    );
    const fd = openSync(path, 'r');
    scope(() => {
      const t = tensor(iota(2), [2]);
      expect(() => native.writeTensor(fd, 3, t)).toThrow(
        `[writeTensor] expected to write 8 bytes at byte 3 of file descriptor ${fd}, wrote 0: Bad file descriptor`,
      );
    });
    closeSync(fd);
    expect(native.memory()).toMatchObject({ liveBytes: live.liveBytes, liveTensors: live.liveTensors });
  });
});
