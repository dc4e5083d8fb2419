import { expect, test } from 'vitest';
import { DataPlan, type DataPlanOptions } from '../../lib/training/data-plan.js';

const options: DataPlanOptions = {
  batchTokens: 10,
  gradientAccumulation: 2,
  shuffle: true,
  seed: 3,
  epochs: 2,
};
const lengths = [3, 4, 5, 6, 7, 12, 1, 2, 9];

test('every epoch sees every record once, in micro-batches within the budget', () => {
  const plan = new DataPlan(lengths, options);
  const seen = [0, 1].map((): number[] => []);
  for (let step = 0; step < plan.totalSteps; step++) {
    const { epoch, microBatches } = plan.step(step);
    expect(microBatches.length).toBeLessThanOrEqual(2);
    for (const group of microBatches) {
      const rows = group.reduce((sum, index) => sum + lengths[index]!, 0);
      expect(rows <= 10 || group.length === 1).toBe(true);
      seen[epoch]!.push(...group);
    }
  }
  for (const epoch of seen) expect([...epoch].sort((a, b) => a - b)).toEqual([...lengths.keys()]);
  expect(seen[0]).not.toEqual(seen[1]);
});

test('a step depends on nothing but lengths, seed and its number', () => {
  const plan = new DataPlan(lengths, options);
  const later = new DataPlan(lengths, options);
  for (let step = plan.totalSteps - 1; step >= 0; step--) expect(later.step(step)).toEqual(plan.step(step));
  expect(new DataPlan(lengths, { ...options, seed: 4 }).step(0)).not.toEqual(plan.step(0));
});

test('without shuffling the order is that of the file', () => {
  const plan = new DataPlan(lengths, { ...options, shuffle: false, gradientAccumulation: 99, epochs: 1 });
  expect(plan.step(0).microBatches.flat()).toEqual([...lengths.keys()]);
});

test('maxSteps goes through as many epochs as it takes, and 0 takes none', () => {
  const plan = new DataPlan(lengths, { ...options, maxSteps: 17 });
  expect(plan.totalSteps).toBe(17);
  expect(plan.step(16).epoch).toBeGreaterThan(2);
  expect(new DataPlan(lengths, { ...options, maxSteps: 0 }).totalSteps).toBe(0);
});

test('no records is an error', () => {
  expect(() => new DataPlan([], options)).toThrow('expected at least one training record');
});
