import type { DeviceName } from '../device-name.js';
import type { Modality } from '../models/target.js';
import type { ServingOptions } from '../serving/contract.js';
import type { ExportOptions, ExportResult } from '../serving/export.js';
import type { TrainConfig } from '../training/config.js';
import type { ProgressUpdate } from '../training/progress.js';
import type { Job } from './job.js';
import { jobModule, runModule, type RunJobOptions } from './run-job.js';

// ---- events

export type JobEvent =
  | { type: 'log'; level: 'info' | 'warn'; message: string }
  /** Something that is counted: records read, answers decoded … */
  | { type: 'count'; phase: string; done: number; total: number }
  | ({
      type: 'step';
      learningRate: number;
      gradNorm: number;
      skipped: boolean;
      dataSeconds: number;
    } & ProgressUpdate)
  /** Metrics of the held-out records after a step. */
  | { type: 'eval'; step: number; metrics: Record<string, number> }
  | { type: 'checkpoint'; step: number; path: string; best: boolean }
  /** A piece of generated text. */
  | { type: 'text'; text: string };

// ---- where records come from

export interface DataOptions {
  /** Files of conversations: JSONL, JSON or parquet. */
  data: string[];
  /** Directory under which absolute media paths are allowed. */
  mediaRoot?: string;
  allowRemote?: boolean;
  /** `fail` if absent. */
  onBadRecord?: 'fail' | 'skip';
  /** Records of more tokens are dropped and counted; no limit if absent. */
  maxLength?: number;
}

/** What became of the records of a run. */
export interface RecordCounts {
  used: number;
  /** Reason → number of records. */
  skipped: Record<string, number>;
}

export interface ComputeOptions {
  /** auto if absent: a GPU where there is one. */
  device?: DeviceName;
  /** Element type of the target's weights and products; float32 if absent. */
  dtype?: 'float32' | 'bfloat16';
  /** CPU threads; every core if absent. */
  threads?: number;
}

// ---- train

export interface TrainResult {
  /** Optimizer steps taken, those before a resume included. */
  steps: number;
  /** True where the run was asked to stop before its last step. */
  stopped: boolean;
  /** Checkpoint of the last step. */
  latestCheckpoint: string;
  /** Checkpoint with the best evaluation; the last one where nothing was held out. */
  bestCheckpoint: string;
  /** Metrics of the last evaluation. */
  metrics: Record<string, number>;
  records: RecordCounts;
  seconds: number;
  peakBytes: number;
}

// ---- evaluate

export interface EvaluateOptions extends DataOptions, ComputeOptions {
  /** Target: a checkpoint directory, or a hub id in the local cache. */
  model: string;
  /** Exported draft directory. */
  draft: string;
  /** Tokens K that the draft proposes in a round; 5 if absent. */
  chainLength?: number;
  /** 256 if absent. */
  maxNewTokens?: number;
  maxRecords?: number;
}

export interface AcceptanceReport {
  records: number;
  /** Tokens generated. */
  tokens: number;
  /** Verification rounds. */
  rounds: number;
  /** 1 + accepted/rounds: bonus token included, prefill token excluded. */
  acceptLength: number;
  /** [K]: share of rounds in which the first k + 1 proposals were accepted. */
  acceptanceByPosition: number[];
}

export interface EvaluateResult extends AcceptanceReport {
  byModality: Partial<Record<Modality, AcceptanceReport>>;
  /** Whether every answer was token for token the target's own. */
  lossless: boolean;
  /** Ids of records whose answers differ. */
  mismatches: string[];
  /** Accept length that teacher forcing over the target's answers predicts. */
  simulatedAcceptLength: number;
  /** Decoding, prefill left out. */
  tokensPerSecond: { target: number; speculative: number };
  speedup: number;
  counts: RecordCounts;
}

// ---- features

export interface FeaturesOptions extends DataOptions {
  model: string;
  /** Receives one safetensors file a record. */
  out: string;
  /** `all` adds the residual stream at every boundary; `aux` if absent. */
  layers?: 'aux' | 'all';
  /** Also the target's logits [T, V]. */
  logits?: boolean;
  /** Also what the processor made of media: pixels, grids, mel frames. */
  mediaFeatures?: boolean;
  /** Hear clips that have a sound track (omni families). */
  useAudioInVideo?: boolean;
  /** Element type of the hidden states in the files; float32 if absent. */
  dtype?: 'float32' | 'bfloat16';
  /** Contract fields that reach the features; SGLang's if absent. */
  serving?: ServingOptions;
  threads?: number;
  /** auto if absent: a GPU where there is one. */
  device?: DeviceName;
}

export interface FeaturesResult {
  out: string;
  files: number;
  tokens: number;
  bytes: number;
  records: RecordCounts;
}

// ---- generate

export interface GenerateOptions extends ComputeOptions {
  model: string;
  /** Exported draft directory: decodes speculatively, with the same result. */
  draft?: string;
  prompt: string;
  /** Files, given to the model before the prompt: images, then videos, then sounds. */
  images?: string[];
  videos?: string[];
  audios?: string[];
  /** 256 if absent. */
  maxNewTokens?: number;
  chainLength?: number;
}

export interface GenerateResult {
  text: string;
  promptTokens: number;
  tokens: number;
  /** Decoding, prefill left out. */
  tokensPerSecond: number;
  /** Of speculative decoding. */
  acceptLength?: number;
}

/** The jobs of `lib/jobs/`, by name: each is the module that exports `run`. */
export interface JobTypes {
  train: { payload: TrainConfig; result: TrainResult };
  evaluate: { payload: EvaluateOptions; result: EvaluateResult };
  export: { payload: ExportOptions; result: ExportResult };
  features: { payload: FeaturesOptions; result: FeaturesResult };
  generate: { payload: GenerateOptions; result: GenerateResult };
}

export type JobName = keyof JobTypes;

/** Type of `run` in `lib/jobs/<Name>.ts`. */
export type JobOf<Name extends JobName> = Job<JobTypes[Name]['payload'], JobEvent, JobTypes[Name]['result']>;

/** Runs a job of `lib/jobs/` in a worker thread. */
export function runJob<Name extends JobName>(
  name: Name,
  payload: JobTypes[Name]['payload'],
  options: RunJobOptions<JobEvent> = {},
): Promise<JobTypes[Name]['result']> {
  return runModule<JobEvent, JobTypes[Name]['result']>(jobModule(name), payload, options);
}
