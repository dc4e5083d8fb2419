import { describe, expect, it } from 'vitest';
import { useDevice } from '../../lib/device.js';
import { native } from '../../lib/native.js';
import { narrow, ops, scope, tensor, toFloats } from '../../lib/tensor.js';

const onCuda = process.env.EYAS_TEST_DEVICE === 'cuda';

describe('setDevice', () => {
  it.each(['gpu', 'cuda:', 'cuda:-1', 'cuda:1000', 'CUDA', ''])('refuses %j', (name) => {
    expect(() => {
      native.setDevice(name as 'cpu');
    }).toThrow(`[setDevice] expected cpu, cuda or cuda:N, received '${name}'`);
  });

  it('says that there is no such GPU', () => {
    expect(() => {
      native.setDevice('cuda:77');
    }).toThrow(/^\[setDevice\] expected .*cuda:.*, received .*/);
  });
});

describe.skipIf(onCuda)('without a GPU', () => {
  it('lists none, and says why', () => {
    const { devices, reason } = native.cudaDevices();
    expect(devices).toEqual([]);
    expect(reason).not.toBe('');
  });

  it('auto computes on the CPU', () => {
    const said: string[] = [];
    expect(useDevice('auto', (message) => said.push(message))).toBe('cpu');
    expect(said).toEqual([]);
    scope(() => {
      expect(ops.zeros([2], 'float32').device).toBe('cpu');
    });
  });

  it('cuda is an error that says why', () => {
    const { reason } = native.cudaDevices();
    expect(() => useDevice('cuda')).toThrow(
      `[setDevice] expected a device for cuda:0, received no CUDA device: ${reason!}`,
    );
  });
});

describe.runIf(onCuda)('on a GPU', () => {
  it('lists it', () => {
    const { devices, reason } = native.cudaDevices();
    expect(reason).toBeUndefined();
    expect(devices[0]!.name).not.toBe('');
    expect(devices[0]!.computeCapability).toMatch(/^\d+\.\d+$/);
    expect(devices[0]!.bytes).toBeGreaterThan(0);
  });

  it('auto takes it', () => {
    expect(useDevice('auto')).toBe('cuda');
    scope(() => {
      const made = [ops.zeros([2], 'int32'), ops.randomNormal([3], 1, 1n), tensor(Float32Array.of(1), [1])];
      expect(made.map(({ device }) => device)).toEqual(['cuda', 'cuda', 'cuda']);
    });
  });

  it('has memory of its own', () => {
    const before = native.memory().liveBytes;
    scope(() => {
      ops.zeros([1000], 'float32');
      expect(native.memory().liveBytes).toBe(before + 4000);
      native.setDevice('cpu');
      expect(native.memory().liveBytes).toBe(0);
      native.setDevice('cuda');
    });
    expect(native.memory().liveBytes).toBe(before);
  });

  it('tensors of two devices do not meet', () => {
    scope(() => {
      const here = ops.zeros([2, 2], 'float32');
      native.setDevice('cpu');
      const there = ops.zeros([2, 2], 'float32');
      native.setDevice('cuda');
      const received = 'expected all tensors on cuda, received float32 [2,2] on cpu';
      expect(() => ops.matmul(here, there)).toThrow(`[matmul] ${received}`);
      expect(() => ops.matmulTransposed([here, here], [here, there])).toThrow(
        `[matmulTransposed] ${received}`,
      );
      expect(() => ops.add(here, there)).toThrow(`[add] ${received}`);
      expect(() => {
        ops.addInPlace(here, there);
      }).toThrow(`[addInPlace] ${received}`);
      expect(() => ops.rmsNorm(here, narrow(there, 0, 0, 1), 1e-6)).toThrow('[rmsNorm]');
      // Copying is how a tensor changes the device.
      there.fill(3);
      here.copyFrom(there);
      expect(Array.from(toFloats(here))).toEqual([3, 3, 3, 3]);
    });
  });

  it('ids that were written on the device are checked as well', () => {
    scope(() => {
      const table = tensor(Float32Array.of(1, 2, 3), [3, 1]);
      const ids = tensor(Int32Array.of(0, 1), [2]);
      expect(Array.from(toFloats(ops.gatherRows(table, ids)))).toEqual([1, 2]);
      ids.fill(2);
      expect(Array.from(toFloats(ops.gatherRows(table, ids)))).toEqual([3, 3]);
      ids.fill(3);
      expect(() => ops.gatherRows(table, ids)).toThrow('[gatherRows]');
    });
  });
});
