import { describe, expect, it } from 'vitest';
import { learningRate, warmupLength, type ScheduleConfig } from '../../lib/training/schedule.js';

const config: ScheduleConfig = {
  learningRate: 1e-3,
  schedule: 'cosine',
  warmupRatio: 0.1,
  minLearningRateRatio: 0.1,
};

describe('learningRate', () => {
  it('rises linearly to the peak, then falls along a cosine to the share at the last step', () => {
    expect(learningRate(1, 110, config)).toBeCloseTo(1e-3 / 11, 12);
    expect(learningRate(11, 110, config)).toBeCloseTo(1e-3, 12);
    // Half of the decay of 99 steps lies between steps 60 and 61.
    const middle = (learningRate(60, 110, config) + learningRate(61, 110, config)) / 2;
    expect(middle).toBeCloseTo(0.55e-3, 9);
    expect(learningRate(110, 110, config)).toBeCloseTo(1e-4, 12);
    expect(learningRate(500, 110, config)).toBeCloseTo(1e-4, 12);
  });

  it('falls linearly, or not at all', () => {
    const linear = { ...config, schedule: 'linear' as const, warmupRatio: 0, minLearningRateRatio: 0 };
    expect([1, 2, 3, 4, 5].map((step) => learningRate(step, 5, linear))).toEqual(
      [1, 0.75, 0.5, 0.25, 0].map((factor) => expect.closeTo(factor * 1e-3, 12) as number),
    );
    const constant = { ...config, schedule: 'constant' as const };
    expect(learningRate(50, 100, constant)).toBe(1e-3);
    expect(learningRate(5, 100, constant)).toBeCloseTo(0.5e-3, 12);
  });

  it('counts warm-up in steps or as a share', () => {
    expect(warmupLength(200, config)).toBe(20);
    expect(warmupLength(200, { ...config, warmupSteps: 7 })).toBe(7);
    expect(warmupLength(5, { ...config, warmupSteps: 7 })).toBe(5);
  });

  it('is defined for runs of a single step and refuses step 0', () => {
    expect(learningRate(1, 1, config)).toBe(1e-3);
    expect(() => learningRate(0, 10, config)).toThrow('at least 1, received 0');
  });
});
