/** The part of the optimizer's config that fixes the learning rate. */
export interface ScheduleConfig {
  learningRate: number;
  schedule: 'cosine' | 'linear' | 'constant';
  /** Share of all steps; `warmupSteps` goes before it. */
  warmupRatio: number;
  warmupSteps?: number | undefined;
  /** Learning rate of the last step as a share of the peak. */
  minLearningRateRatio: number;
}

/** Steps of linear warm-up in a run of `totalSteps`. */
export function warmupLength(totalSteps: number, config: ScheduleConfig): number {
  return Math.min(totalSteps, config.warmupSteps ?? Math.round(config.warmupRatio * totalSteps));
}

/**
 * Learning rate of an optimizer step.
 *
 * Warm-up rises linearly to the peak at its last step; the decay reaches
 * `minLearningRateRatio` of the peak at the last step of the run and stays there.
 * @param step 1 for the first step
 */
export function learningRate(step: number, totalSteps: number, config: ScheduleConfig): number {
  if (!(step >= 1)) throw new RangeError(`[learningRate] expected a step of at least 1, received ${step}`);
  const peak = config.learningRate;
  const warmup = warmupLength(totalSteps, config);
  if (step <= warmup) return (peak * step) / warmup;
  if (config.schedule === 'constant') return peak;
  // Without warm-up the first step is at the peak, so the decay starts there.
  const start = Math.max(warmup, 1);
  const progress = totalSteps > start ? Math.min(1, (step - start) / (totalSteps - start)) : 0;
  const remaining = config.schedule === 'cosine' ? (1 + Math.cos(Math.PI * progress)) / 2 : 1 - progress;
  return peak * (config.minLearningRateRatio + (1 - config.minLearningRateRatio) * remaining);
}
