import { Eagle3Draft } from '../draft/eagle3.js';
import { disposeInputs, draftInputs, type DraftInputs, type InputRules } from '../draft/inputs.js';
import {
  simulatedAcceptLength,
  sumMetrics,
  trainingTimeTest,
  type StepMetrics,
  type TttContext,
} from '../draft/ttt.js';
import type { DraftVocabulary } from '../draft/vocabulary.js';
import type { Sample, Target } from '../models/target.js';
import { finish, finishInTurns, type Pieces } from '../tensor.js';
import { AdamW, type AdamWConfig } from './optimizer.js';

export interface TrainerOptions extends InputRules {
  /** γ: step s weighs γ^s. */
  decay: number;
  /** Divide step s by its supervised rows of the whole optimizer step, or everything by the number of tokens. */
  normalization: 'tokens' | 'specforge';
  gradClip: number;
  optimizer: AdamWConfig;
}

/** What one optimizer step, or one evaluation, saw. */
export interface TrainMetrics {
  /** Σ_s γ^s · loss_s */
  loss: number;
  /** Mean soft cross-entropy per TTT step. */
  stepLoss: number[];
  /** Share of right predictions per TTT step, out-of-vocabulary targets counted as misses. */
  accuracy: number[];
  /** Simulated accept length over all TTT steps. */
  acceptLength: number;
  /** Tokens in the batch, prompts included. */
  tokens: number;
  /** Supervised rows of the first TTT step. */
  supervised: number;
}

export interface StepOutcome extends TrainMetrics {
  gradNorm: number;
  /** True where the gradient was not finite and the update was left out. */
  skipped: boolean;
}

/**
 * Trains an EAGLE-3 draft against any target. It knows nothing of modality: pixels, frames and sound go into the target,
 * and what comes out is rows, tokens and positions.
 */
export class Eagle3Trainer {
  readonly optimizer: AdamW;
  readonly #context: TttContext;

  constructor(
    readonly target: Target,
    readonly draft: Eagle3Draft,
    readonly vocabulary: DraftVocabulary,
    readonly options: TrainerOptions,
  ) {
    this.optimizer = new AdamW(draft.parameters, options.optimizer);
    this.#context = { draft, vocabulary, embedTokens: target.embedTokens };
  }

  /**
   * One optimizer step over micro-batches. The target runs over all of them first, so that every micro-batch is divided
   * by the row counts of the whole step and the gradient does not depend on the split.
   */
  step(microBatches: readonly (readonly Sample[])[], lr: number): StepOutcome {
    return finish(this.#step(microBatches, lr));
  }

  /** {@link step}, during which the event loop goes on turning, so that the next samples can be prepared. */
  stepInTurns(microBatches: readonly (readonly Sample[])[], lr: number): Promise<StepOutcome> {
    return finishInTurns(this.#step(microBatches, lr));
  }

  *#step(microBatches: readonly (readonly Sample[])[], lr: number): Pieces<StepOutcome> {
    const inputs: DraftInputs[] = [];
    try {
      for (const samples of microBatches) {
        inputs.push(this.#inputs(samples));
        yield;
      }
      this.draft.parameters.zeroGrad();
      const scales = this.#lossScales(inputs);
      const steps: StepMetrics[][] = [];
      for (const micro of inputs) steps.push(yield* trainingTimeTest(this.#context, micro, scales));
      const metrics = this.#sum(inputs, steps);
      const gradNorm = this.optimizer.gradNorm();
      const skipped = !Number.isFinite(gradNorm);
      if (!skipped) this.optimizer.step(lr, Math.min(1, this.options.gradClip / (gradNorm + 1e-6)));
      return { ...metrics, gradNorm, skipped };
    } finally {
      inputs.forEach(disposeInputs);
    }
  }

  /** Losses, accuracy and simulated accept length without training; one batch of samples in memory at a time. */
  async evaluate(batches: AsyncIterable<readonly Sample[]>): Promise<TrainMetrics> {
    const plans: DraftInputs[] = [];
    const results: StepMetrics[][] = [];
    for await (const samples of batches) {
      const inputs = this.#inputs(samples);
      try {
        results.push(finish(trainingTimeTest(this.#context, inputs)));
        plans.push(inputs);
      } finally {
        disposeInputs(inputs);
      }
    }
    return this.#sum(plans, results);
  }

  dispose(): void {
    this.optimizer.dispose();
  }

  #inputs(samples: readonly Sample[]): DraftInputs {
    return draftInputs(this.target, samples, this.vocabulary, this.options);
  }

  #lossScales(inputs: readonly DraftInputs[]): number[] {
    const { steps, decay, normalization } = this.options;
    const tokens = inputs.reduce((sum, micro) => sum + micro.batch.inputIds.length, 0);
    return Array.from({ length: steps }, (_, s) => {
      const rows = inputs.reduce((sum, micro) => sum + micro.plan.steps[s]!.supervised.length, 0);
      return decay ** s / Math.max(1, normalization === 'tokens' ? rows : tokens);
    });
  }

  #sum(inputs: readonly DraftInputs[], results: readonly StepMetrics[][]): TrainMetrics {
    const steps = sumMetrics(results, this.options.steps);
    const scales = this.#lossScales(inputs);
    return {
      loss: steps.reduce((sum, step, s) => sum + scales[s]! * step.loss, 0),
      stepLoss: steps.map((step) => step.loss / Math.max(1, step.rows)),
      accuracy: steps.map((step) => step.correct / Math.max(1, step.candidates)),
      acceptLength: simulatedAcceptLength(steps),
      tokens: inputs.reduce((sum, micro) => sum + micro.batch.inputIds.length, 0),
      supervised: steps[0]!.candidates,
    };
  }
}
