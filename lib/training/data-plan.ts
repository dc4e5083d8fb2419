import { packGroups } from '../data/packing.js';
import { permutation } from './random.js';

export interface DataPlanOptions {
  batchTokens: number;
  gradientAccumulation: number;
  shuffle: boolean;
  seed: number;
  epochs: number;
  /** Instead of epochs: as many passes as it takes. */
  maxSteps?: number;
}

/** The micro-batches of one optimizer step, as sample indices. */
export interface PlannedStep {
  epoch: number;
  microBatches: number[][];
}

/**
 * Which samples every optimizer step sees. It follows from lengths, seed and step alone, so a resumed run needs nothing
 * but its step number to go on where it stood.
 */
export class DataPlan {
  readonly totalSteps: number;
  readonly #epochs = new Map<number, PlannedStep[]>();
  readonly #starts: number[] = [0];

  constructor(
    readonly lengths: readonly number[],
    readonly options: DataPlanOptions,
  ) {
    if (lengths.length === 0) throw new Error('data: expected at least one training record, received none');
    const { epochs, maxSteps } = options;
    for (let epoch = 0; maxSteps === undefined ? epoch < epochs : this.#starts.at(-1)! < maxSteps; epoch++) {
      this.#starts.push(this.#starts.at(-1)! + this.#plan(epoch).length);
    }
    this.totalSteps = maxSteps ?? this.#starts.at(-1)!;
  }

  /** The step after `step` finished ones. */
  step(step: number): PlannedStep {
    const epoch = this.#starts.findIndex((start) => start > step) - 1;
    return this.#plan(epoch)[step - this.#starts[epoch]!]!;
  }

  #plan(epoch: number): PlannedStep[] {
    const known = this.#epochs.get(epoch);
    if (known) return known;
    const { shuffle, seed, batchTokens, gradientAccumulation } = this.options;
    const count = this.lengths.length;
    const order = shuffle ? permutation(count, seed, epoch) : Int32Array.from({ length: count }, (_, i) => i);
    const groups = packGroups(order, this.lengths, batchTokens);
    const steps: PlannedStep[] = [];
    for (let i = 0; i < groups.length; i += gradientAccumulation) {
      steps.push({ epoch, microBatches: groups.slice(i, i + gradientAccumulation) });
    }
    this.#epochs.clear();
    this.#epochs.set(epoch, steps);
    return steps;
  }
}
