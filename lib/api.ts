import { parseConfig, type TrainConfigInput } from './training/config.js';
import {
  runJob,
  type EvaluateOptions,
  type EvaluateResult,
  type FeaturesOptions,
  type FeaturesResult,
  type GenerateOptions,
  type GenerateResult,
  type JobEvent,
  type TrainResult,
} from './worker/jobs.js';
import type { RunJobOptions } from './worker/run-job.js';

/** Events of a running job, and a signal that asks it to stop. */
export type RunOptions = RunJobOptions<JobEvent>;

/**
 * Trains a draft in a worker thread; the caller's event loop stays free. Aborting the signal makes it save a checkpoint
 * and give its result with `stopped: true`.
 * @throws ConfigError before anything runs if the config is wrong
 */
export async function train(config: TrainConfigInput, options?: RunOptions): Promise<TrainResult> {
  return runJob('train', parseConfig(config), options);
}

/** Decodes held-out records with and without a draft, losslessly, and reports the accept length. */
export async function evaluate(options: EvaluateOptions, run?: RunOptions): Promise<EvaluateResult> {
  return runJob('evaluate', options, run);
}

/** Writes the target's hidden states of every record as safetensors files. */
export async function extractFeatures(options: FeaturesOptions, run?: RunOptions): Promise<FeaturesResult> {
  return runJob('features', options, run);
}

/** Answers one prompt, with a draft or without. */
export async function generate(options: GenerateOptions, run?: RunOptions): Promise<GenerateResult> {
  return runJob('generate', options, run);
}

export { exportDraft, type ExportOptions, type ExportResult } from './serving/export.js';
export { verifyDraft, type VerifyCheck, type VerifyOptions, type VerifyReport } from './serving/verify.js';
