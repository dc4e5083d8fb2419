import { afterEach, describe, expect, it, vi } from 'vitest';
import { bench } from './helpers/modules.js';

type Run = () => Promise<{ seconds: number }>;
interface Times {
  eyas_ms: number;
  peer_ms: number;
  ratio: number;
  runs: number;
}
const { alternate, expectEqual, median, relative } = (await bench('harness', 'measure.mjs')) as {
  alternate: (ours: Run, theirs: Run, repeat: number) => Promise<Times>;
  expectEqual: (what: string, difference: number, bound: number) => void;
  median: (times: number[]) => number;
  relative: (a: number, b: number) => number;
};

afterEach(() => {
  vi.restoreAllMocks();
});

/** A side that takes the given times in turn, and says when it begins and ends. */
function side(name: string, seconds: number[], log: string[]): Run {
  const left = [...seconds];
  return async () => {
    log.push(`${name} begins`);
    await new Promise((resolve) => setTimeout(resolve, 1));
    log.push(`${name} ends`);
    return { seconds: left.shift()! };
  };
}

describe('alternate', () => {
  it('runs the sides in turn, never at the same time, and once more than is counted', async () => {
    const log: string[] = [];
    const times = await alternate(side('eyas', [1, 1, 1], log), side('peer', [1, 1, 1], log), 2);
    const pair = ['eyas begins', 'eyas ends', 'peer begins', 'peer ends'];
    expect(log).toEqual([...pair, ...pair, ...pair]);
    expect(times.runs).toBe(2);
  });

  it('gives medians in milliseconds without the first runs, and how many times faster eyas is', async () => {
    const ours = side('eyas', [900, 0.03, 0.01, 0.5], []);
    const theirs = side('peer', [0.001, 0.06, 7, 0.05], []);
    const times = await alternate(ours, theirs, 3);
    expect(times.eyas_ms).toBeCloseTo(30, 9);
    expect(times.peer_ms).toBeCloseTo(60, 9);
    expect(times.ratio).toBeCloseTo(2, 9);
    expect(times.runs).toBe(3);
  });

  it('begins no further pair when its time is used up, but always counts two', async () => {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    const slow = (seconds: number): Run => {
      return () => {
        now += 1000 * seconds;
        return Promise.resolve({ seconds });
      };
    };
    expect(await alternate(slow(100), slow(900), 5)).toMatchObject({ runs: 2, ratio: 9 });
    expect(await alternate(slow(30), slow(30), 5)).toMatchObject({ runs: 3, ratio: 1 });
  });

  it('passes on what a side throws', async () => {
    const broken: Run = () => Promise.reject(new Error('out of rows'));
    await expect(alternate(side('eyas', [1], []), broken, 1)).rejects.toThrow('out of rows');
  });
});

describe('median', () => {
  it('is the middle value by size, or the mean of the middle two', () => {
    expect(median([10, 9, 100])).toBe(10);
    expect(median([4])).toBe(4);
    expect(median([1, 30, 2, 10])).toBe(6);
  });

  it('leaves the times in their order', () => {
    const times = [3, 1, 2];
    median(times);
    expect(times).toEqual([3, 1, 2]);
  });
});

describe('comparison of both sides', () => {
  it('measures a difference against the peer', () => {
    expect(relative(11, 10)).toBeCloseTo(0.1, 12);
    expect(relative(-9, -10)).toBeCloseTo(0.1, 12);
    expect(relative(0, 0)).toBe(0);
    expect(relative(1, 0)).toBeGreaterThan(1e9);
  });

  it('refuses what differs by more than the bound, and says by how much', () => {
    expect(() => {
      expectEqual('losses', 1e-4, 1e-4);
    }).not.toThrow();
    expect(() => {
      expectEqual('ttt vlm float32, losses', 2e-4, 1e-4);
    }).toThrow(
      'ttt vlm float32, losses: expected eyas and its peer to differ by at most 0.0001, received 0.0002',
    );
  });

  it.each([
    [NaN, 1],
    [1, NaN],
    [NaN, NaN],
    [Infinity, Infinity],
  ])('refuses %d against %d', (a, b) => {
    expect(() => {
      expectEqual('losses', relative(a, b), 1e9);
    }).toThrow('received NaN');
  });
});
