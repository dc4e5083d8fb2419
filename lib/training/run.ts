import { basename, join } from 'node:path';
import { packGroups } from '../data/packing.js';
import type { Sample } from '../models/target.js';
import { native } from '../native.js';
import { dispose, scope, tensor, type Tensor } from '../tensor.js';
import { version } from '../version.js';
import type { JobContext } from '../worker/job.js';
import type { JobEvent, TrainResult } from '../worker/jobs.js';
import {
  assertResumable,
  checkpointName,
  cleanCheckpoints,
  findBest,
  findLatest,
  loadCheckpoint,
  saveCheckpoint,
  type TrainingState,
} from './checkpoint.js';
import type { TrainConfig } from './config.js';
import { DataPlan, type PlannedStep } from './data-plan.js';
import { MetricsWriter } from './metrics.js';
import { Prefetch } from './prefetch.js';
import { learningRate } from './schedule.js';
import { setUpTraining, type TrainingSetup } from './setup.js';
import { TensorBoardWriter } from './tensorboard.js';
import type { StepOutcome, TrainMetrics } from './trainer.js';

type Context = JobContext<JobEvent>;

/** Trains a draft from a config, to its end or until it is asked to stop; goes on where a checkpoint stands. */
export async function runTraining(config: TrainConfig, context: Context): Promise<TrainResult> {
  assertFresh(config);
  const setup = await setUpTraining(config, context);
  const run = new TrainingRun(config, setup, context);
  try {
    return await run.run();
  } finally {
    run.close();
    setup.dispose();
  }
}

/** A run that must not resume does not mix its checkpoints with those of another. */
function assertFresh({ resume, output }: TrainConfig): void {
  const found = resume === 'never' ? findLatest(join(output, 'checkpoints'), () => undefined) : undefined;
  if (found === undefined) return;
  throw new Error(
    `resume: never: expected an output directory without checkpoints, received ${found}; ` +
      'name another output, or resume: auto to go on from there',
  );
}

class TrainingRun {
  readonly #plan: DataPlan;
  readonly #checkpoints: string;
  #state: TrainingState;
  #latest: string | undefined;
  #metrics: MetricsWriter | undefined;
  #tensorboard: TensorBoardWriter | undefined;
  #evaluation: TrainMetrics | undefined;

  constructor(
    readonly config: TrainConfig,
    readonly setup: TrainingSetup,
    readonly context: Context,
  ) {
    const { training, data } = config;
    this.#checkpoints = join(config.output, 'checkpoints');
    this.#plan = new DataPlan(setup.train.lengths, { ...training, shuffle: data.shuffle });
    this.#state = {
      step: 0,
      totalSteps: this.#plan.totalSteps,
      updates: 0,
      nonFiniteInARow: 0,
      counts: { tokens: 0, records: 0, skippedSteps: 0 },
      config,
      dataFingerprint: setup.dataFingerprint,
      version,
    };
  }

  async run(): Promise<TrainResult> {
    const started = performance.now();
    this.#resume();
    this.#openTrackers();
    const state = this.#state;
    if (state.step === 0) await this.#evaluate();
    await this.#train();
    if (this.#latest === undefined || basename(this.#latest) !== checkpointName(state.step))
      this.#save(false);
    const { train } = this.setup;
    return {
      steps: state.step,
      stopped: state.step < state.totalSteps,
      latestCheckpoint: this.#latest!,
      bestCheckpoint: findBest(this.#checkpoints) ?? this.#latest!,
      metrics: this.#evaluation ? flatten(this.#evaluation) : {},
      records: {
        used: train.size,
        skipped: {
          tooLong: train.dropped.tooLong,
          unsupervised: train.dropped.unsupervised,
          bad: train.dropped.bad.length,
        },
      },
      seconds: (performance.now() - started) / 1000,
      peakBytes: native.memory().peakBytes,
    };
  }

  async #train(): Promise<void> {
    const state = this.#state;
    const { prefetch, evalEvery, saveEvery } = this.config.training;
    const pace = new Pace(state.step, state.totalSteps);
    const batches = new Prefetch(state.step, state.totalSteps, prefetch, (step) => this.#load(step));
    try {
      while (state.step < state.totalSteps && !this.context.stopRequested()) {
        const asked = performance.now();
        const { planned, samples } = await batches.take();
        const dataSeconds = (performance.now() - asked) / 1000;
        const lr = learningRate(state.step + 1, state.totalSteps, this.config.optimizer);
        const outcome = await this.setup.trainer.stepInTurns(samples, lr);
        this.#advance(outcome, planned);
        this.#report(outcome, planned, lr, { dataSeconds, ...pace.update(state.step, outcome.tokens) });
        const improved = this.#due(evalEvery) && (await this.#evaluate());
        if (improved || this.#due(saveEvery)) this.#save(improved);
      }
    } finally {
      await batches.close();
    }
  }

  close(): void {
    this.#metrics?.close();
    this.#tensorboard?.close();
  }

  /** Takes up weights, moments and counters of the checkpoint that the config names or the output holds. */
  #resume(): void {
    const { resume } = this.config;
    cleanCheckpoints(this.#checkpoints);
    if (resume === 'never') return;
    const path =
      resume === 'auto'
        ? findLatest(this.#checkpoints, (text) => {
            this.#log('warn', text);
          })
        : resume;
    if (path === undefined) return;
    scope(() => {
      const { tensors, optimizer, state } = loadCheckpoint(path);
      assertResumable(path, state, this.#state);
      for (const parameter of this.setup.draft.parameters) {
        const saved = tensors[parameter.name];
        if (!saved) throw new Error(`${path}: expected tensor ${parameter.name}, received none`);
        parameter.load(saved);
      }
      this.setup.trainer.optimizer.load(optimizer, state.updates);
      this.#state = { ...state, config: this.config, version };
    });
    this.#latest = path;
    this.#log('info', `resumed from ${path} at step ${this.#state.step} of ${this.#state.totalSteps}`);
  }

  #openTrackers(): void {
    const { output, trackers } = this.config;
    if (trackers.jsonl) this.#metrics = new MetricsWriter(join(output, 'metrics.jsonl'), this.#state.step);
    if (trackers.tensorboard) {
      this.#tensorboard = new TensorBoardWriter(join(output, 'tensorboard'), this.#state.step);
    }
  }

  /** The samples of a step's micro-batches. */
  async #load(step: number): Promise<{ planned: PlannedStep; samples: Sample[][] }> {
    const { train } = this.setup;
    const planned = this.#plan.step(step);
    const samples = await Promise.all(
      planned.microBatches.map((group) => Promise.all(group.map((index) => train.get(index)))),
    );
    return { planned, samples };
  }

  #advance(outcome: StepOutcome, planned: PlannedStep): void {
    const state = this.#state;
    state.step += 1;
    state.updates = this.setup.trainer.optimizer.steps;
    state.counts['tokens']! += outcome.tokens;
    state.counts['records']! += planned.microBatches.flat().length;
    state.nonFiniteInARow = outcome.skipped ? state.nonFiniteInARow + 1 : 0;
    if (!outcome.skipped) return;
    state.counts['skippedSteps']! += 1;
    this.#log('warn', `step ${state.step}: the gradient norm is ${outcome.gradNorm}; the update is skipped`);
    if (state.nonFiniteInARow < this.config.training.maxNonFiniteSteps) return;
    throw new Error(
      `training stopped at step ${state.step}: ${state.nonFiniteInARow} steps in a row had non-finite gradients; ` +
        `the last good checkpoint is ${this.#latest ?? 'none'}`,
    );
  }

  #report(
    outcome: StepOutcome,
    planned: PlannedStep,
    learningRate: number,
    times: Rate & { dataSeconds: number },
  ): void {
    const { step, totalSteps } = this.#state;
    const { loss, accuracy, gradNorm, skipped } = outcome;
    this.context.emit({
      type: 'step',
      step,
      totalSteps,
      loss,
      accuracy,
      gradNorm,
      skipped,
      learningRate,
      ...times,
    });
    const scalars = { ...flatten(outcome), learningRate, gradNorm };
    // A run that went on from a checkpoint leaves the same metrics.jsonl as one never stopped, so no times in it.
    this.#metrics?.write({ step, epoch: planned.epoch, skipped, ...scalars });
    this.#tensorboard?.scalars(step, prefixed('train', { ...scalars, dataSeconds: times.dataSeconds }));
  }

  /** Runs the held-out records through the training-time test; true where the accept length is the best so far. */
  async #evaluate(): Promise<boolean> {
    const store = this.setup.evaluation;
    if (!store || store.size === 0) return false;
    const limit = Math.min(store.size, this.config.evaluation.maxRecords ?? store.size);
    const groups = packGroups(
      Array.from({ length: limit }, (_, i) => i),
      store.lengths,
      this.config.training.batchTokens,
    );
    const batches = async function* () {
      for (const group of groups) yield await Promise.all(group.map((index) => store.get(index)));
    };
    const metrics = await this.setup.trainer.evaluate(batches());
    const { step } = this.#state;
    this.#evaluation = metrics;
    const scalars = flatten(metrics);
    this.context.emit({ type: 'eval', step, metrics: scalars });
    this.#metrics?.write({ step, eval: scalars });
    this.#tensorboard?.scalars(step, prefixed('eval', scalars));
    if (this.#state.best && metrics.acceptLength <= this.#state.best.value) return false;
    this.#state.best = { step, metric: 'acceptLength', value: metrics.acceptLength };
    return step > 0;
  }

  #save(best: boolean): void {
    this.#metrics?.sync();
    this.#tensorboard?.sync();
    const { draft, trainer, vocabulary } = this.setup;
    const maps: Record<string, Tensor> = {
      d2t: tensor(vocabulary.d2t(), [vocabulary.size]),
      t2d: tensor(vocabulary.t2d(), [vocabulary.vocabSize]),
    };
    const content = {
      tensors: { ...draft.parameters.tensors(), ...maps },
      optimizer: trainer.optimizer.tensors(),
      state: this.#state,
    };
    const { keepCheckpoints } = this.config.training;
    this.#latest = saveCheckpoint(this.#checkpoints, content, { keep: keepCheckpoints, best });
    dispose(maps);
    this.context.emit({ type: 'checkpoint', step: this.#state.step, path: this.#latest, best });
  }

  /** Every `every` steps, and at the end. */
  #due(every: number): boolean {
    const { step, totalSteps } = this.#state;
    return step === totalSteps || (every > 0 && step % every === 0);
  }

  #log(level: 'info' | 'warn', message: string): void {
    this.context.emit({ type: 'log', level, message });
  }
}

interface Rate {
  tokensPerSecond: number;
  etaSeconds: number;
}

/** Speed since the run was started or resumed. */
class Pace {
  readonly #started = performance.now();
  #tokens = 0;

  constructor(
    readonly firstStep: number,
    readonly totalSteps: number,
  ) {}

  update(step: number, tokens: number): Rate {
    this.#tokens += tokens;
    const seconds = (performance.now() - this.#started) / 1000;
    return {
      tokensPerSecond: this.#tokens / seconds,
      etaSeconds: (seconds / (step - this.firstStep)) * (this.totalSteps - step),
    };
  }
}

/** Metrics as named numbers: lists become `name/0`, `name/1` … */
function flatten(metrics: TrainMetrics): Record<string, number> {
  const { loss, acceptLength, tokens, supervised, stepLoss, accuracy } = metrics;
  const each = (name: string, values: readonly number[]) => values.map((value, s) => [`${name}/${s}`, value]);
  return {
    loss,
    acceptLength,
    tokens,
    supervised,
    ...Object.fromEntries([...each('stepLoss', stepLoss), ...each('accuracy', accuracy)]),
  } as Record<string, number>;
}

function prefixed(prefix: string, values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}/${name}`, value]));
}
