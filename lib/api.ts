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
import type { ExportOptions, ExportResult } from './serving/export.js';
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

/**
 * Writes the draft of a training run as a directory that SGLang and vLLM load: of a checkpoint, or of a run's output
 * directory the best one.
 */
export async function exportDraft(options: ExportOptions): Promise<ExportResult> {
  return runJob('export', options);
}

export { verifyDraft, type VerifyCheck, type VerifyOptions, type VerifyReport } from './serving/verify.js';
export { ConfigError, type ConfigIssue } from './training/config-issues.js';
export { configReference, parseConfig, type ConfigField } from './training/config.js';
export { loadConfig } from './training/config-file.js';
export type { TrainConfig, TrainConfigInput } from './training/config.js';
export type { ExportOptions, ExportResult } from './serving/export.js';
export type { Engine, ServingOptions } from './serving/contract.js';
export type * from './worker/jobs.js';
