import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readSync } from 'node:fs';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { writeFileAtomic } from '../hub/files.js';
import { openSafetensors } from '../hub/safetensors.js';
import { writeSafetensors } from '../hub/safetensors-writer.js';
import type { Tensor } from '../tensor.js';
import type { TrainConfig } from './config.js';

/**
 * Where a run stands: with the weights and moments, all that a resumed run needs to equal an uninterrupted one. The next
 * records and every random number follow from the step and `config.training.seed`; no generator carries a state.
 */
export interface TrainingState {
  /** Optimizer steps taken, skipped ones included: the position in the data and in the schedule. */
  step: number;
  /** Length of the schedule. */
  totalSteps: number;
  /** Steps that changed the weights: AdamW's own count. */
  updates: number;
  /** Steps skipped for non-finite gradients since the last update. */
  nonFiniteInARow: number;
  best?: { step: number; metric: string; value: number };
  /** Totals since the run began: tokens, records, skipped steps … */
  counts: Record<string, number>;
  config: TrainConfig;
  /** Of the training records and the draft vocabulary. */
  dataFingerprint: string;
  /** Version of eyas. */
  version: string;
}

export interface CheckpointContent {
  /** Draft weights in master precision, and the vocabulary maps. */
  tensors: Record<string, Tensor>;
  /** Optimizer moments. */
  optimizer: Record<string, Tensor>;
  state: TrainingState;
}

export interface SaveOptions {
  /** Checkpoints to keep, the newest included; `best` is kept beside them. */
  keep: number;
  /** This one is the best so far. */
  best?: boolean;
}

interface Manifest {
  files: Record<string, { bytes: number; sha256: string }>;
}

const WEIGHTS = 'model.safetensors';
const OPTIMIZER = 'optimizer.safetensors';
const STATE = 'state.json';
const MANIFEST = 'manifest.json';
const CHECKPOINT_NAME = /^step-\d+(\.replaced)?$/;
const UNFINISHED = '.tmp-';

/** Name of a step's checkpoint directory. */
export function checkpointName(step: number): string {
  return `step-${String(step).padStart(6, '0')}`;
}

/**
 * Writes `<dir>/step-NNNNNN/` so that it exists whole or not at all: its files are written beside, synced to disk, and
 * renamed together. Then the pointers `latest` and, if it is, `best` are replaced, and old checkpoints removed.
 * @param dir the run's checkpoint directory; made if it is missing
 * @returns path of the checkpoint
 */
export function saveCheckpoint(dir: string, content: CheckpointContent, options: SaveOptions): string {
  mkdirSync(dir, { recursive: true });
  const name = checkpointName(content.state.step);
  const beside = join(dir, `${UNFINISHED}${name}-${process.pid}`);
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(beside);
  writeSafetensors(join(beside, WEIGHTS), content.tensors, { format: 'pt' });
  writeSafetensors(join(beside, OPTIMIZER), content.optimizer, { format: 'pt' });
  writeFileAtomic(join(beside, STATE), `${JSON.stringify(content.state, null, 2)}\n`);
  const manifest: Manifest = { files: {} };
  for (const file of [WEIGHTS, OPTIMIZER, STATE]) manifest.files[file] = digest(join(beside, file));
  writeFileAtomic(join(beside, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);

  const path = join(dir, name);
  // A directory cannot replace another: the old one keeps a name that can be loaded until the new one has its own.
  const replaced = `${path}.replaced`;
  const again = isDirectory(path);
  if (again) {
    rmSync(replaced, { recursive: true, force: true });
    renameSync(path, replaced);
  }
  renameSync(beside, path);
  syncDirectory(dir);
  if (again) rmSync(replaced, { recursive: true });

  if (options.best) writeFileAtomic(join(dir, 'best'), `${name}\n`);
  writeFileAtomic(join(dir, 'latest'), `${name}\n`);
  rotate(dir, options.keep);
  return path;
}

/** Removes what a killed save has left. */
export function cleanCheckpoints(dir: string): void {
  if (!isDirectory(dir)) return;
  for (const name of readdirSync(dir)) {
    if (name.startsWith(UNFINISHED)) rmSync(join(dir, name), { recursive: true, force: true });
  }
}

/**
 * Path of the newest whole checkpoint, undefined where there is none. A damaged one is reported and passed over.
 * @throws Error if there are checkpoints and all are damaged
 */
export function findLatest(dir: string, warn: (message: string) => void): string | undefined {
  if (!isDirectory(dir)) return undefined;
  const names = listCheckpoints(dir);
  const latest = readPointer(dir, 'latest');
  if (latest !== undefined && names.includes(latest))
    names.unshift(...names.splice(names.indexOf(latest), 1));
  for (const name of names) {
    const damage = findDamage(join(dir, name));
    if (damage === undefined) return join(dir, name);
    warn(`checkpoint ${join(dir, name)} is damaged and passed over: ${damage}`);
  }
  if (names.length > 0) throw new Error(`${dir}: no checkpoint is whole`);
  return undefined;
}

/** Path of the best checkpoint, undefined where none was marked. */
export function findBest(dir: string): string | undefined {
  const name = readPointer(dir, 'best');
  return name === undefined ? undefined : join(dir, name);
}

/**
 * Path of the checkpoint that a user means: a checkpoint, or the output directory of a run, whose best one is taken, or
 * its newest where none is marked.
 * @throws Error if there is none
 */
export function resolveCheckpoint(path: string): string {
  if (existsSync(join(path, STATE))) return path;
  const dir = join(path, 'checkpoints');
  const found = findBest(dir) ?? findLatest(dir, () => undefined);
  if (found !== undefined) return found;
  throw new Error(`${path}: expected a checkpoint or the output directory of a run, received neither`);
}

/**
 * Reads a checkpoint after checking every file against its manifest.
 * @param path a `step-NNNNNN` directory
 * @throws Error naming the file that is missing, cut short or changed
 */
export function loadCheckpoint(path: string): CheckpointContent {
  const damage = findDamage(path);
  if (damage !== undefined) throw new Error(`checkpoint ${path}: ${damage}`);
  return {
    tensors: readTensors(join(path, WEIGHTS)),
    optimizer: readTensors(join(path, OPTIMIZER)),
    state: readState(path),
  };
}

/** The state alone, not checked against the manifest. */
export function readState(path: string): TrainingState {
  return JSON.parse(readFileSync(join(path, STATE), 'utf8')) as TrainingState;
}

/** File of a checkpoint's draft weights. */
export const weightsFile = (path: string): string => join(path, WEIGHTS);

/** Keys of the config that may change between the parts of a resumed run: they do not reach the weights. */
const FREE_KEYS =
  /^(output|resume|data\.cacheBytes|trackers\..*|evaluation\..*|training\.(prefetch|evalEvery|saveEvery|keepCheckpoints))$/;

/**
 * Refuses to resume where the result would differ from an uninterrupted run.
 * @throws Error listing every key that differs, with both values
 */
export function assertResumable(
  path: string,
  state: Pick<TrainingState, 'config' | 'dataFingerprint'>,
  current: Pick<TrainingState, 'config' | 'dataFingerprint'>,
): void {
  const [before, now] = [flatten(state.config), flatten(current.config)];
  const differing = [...new Set([...Object.keys(before), ...Object.keys(now)])]
    .filter((key) => !FREE_KEYS.test(key) && before[key] !== now[key])
    .map((key) => `  ${key}: ${before[key] ?? 'unset'} then, ${now[key] ?? 'unset'} now`);
  if (state.dataFingerprint !== current.dataFingerprint)
    differing.push('  the training records have changed');
  if (differing.length === 0) return;
  throw new Error(
    `cannot resume from ${path}, which was made with another config:\n${differing.join('\n')}\n` +
      'Restore these, or start afresh with resume: never or another output directory.',
  );
}

function flatten(value: unknown, prefix = '', into: Record<string, string> = {}): Record<string, string> {
  if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, prefix ? `${prefix}.${key}` : key, into);
  } else if (value !== undefined) into[prefix] = JSON.stringify(value);
  return into;
}

/** Newest first; of the same step the finished one first. */
function listCheckpoints(dir: string): string[] {
  const step = (name: string): number => Number.parseInt(name.slice('step-'.length), 10);
  return readdirSync(dir)
    .filter((name) => CHECKPOINT_NAME.test(name))
    .sort((a, b) => step(b) - step(a) || a.length - b.length);
}

function rotate(dir: string, keep: number): void {
  const latest = readPointer(dir, 'latest');
  const best = readPointer(dir, 'best');
  const older = listCheckpoints(dir).filter((name) => name !== latest);
  for (const name of older.slice(keep - 1)) {
    // Renamed first: a kill while it is removed must not leave a damaged checkpoint behind.
    if (name === best) continue;
    const doomed = join(dir, `${UNFINISHED}${name}`);
    rmSync(doomed, { recursive: true, force: true });
    renameSync(join(dir, name), doomed);
    rmSync(doomed, { recursive: true });
  }
}

function findDamage(path: string): string | undefined {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(join(path, MANIFEST), 'utf8')) as Manifest;
  } catch (error) {
    return `${MANIFEST}: ${(error as Error).message}`;
  }
  for (const file of [WEIGHTS, OPTIMIZER, STATE]) {
    const expected = manifest.files[file];
    if (!expected) return `${MANIFEST} does not list ${file}`;
    let bytes: number;
    try {
      bytes = statSync(join(path, file)).size;
    } catch {
      return `${file} is missing`;
    }
    if (bytes !== expected.bytes) return `${file}: expected ${expected.bytes} bytes, received ${bytes}`;
    const { sha256 } = digest(join(path, file));
    if (sha256 !== expected.sha256) return `${file}: expected sha256 ${expected.sha256}, received ${sha256}`;
  }
  return undefined;
}

function digest(file: string): { bytes: number; sha256: string } {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1 << 20);
  const fd = openSync(file, 'r');
  try {
    let bytes = 0;
    for (let read; (read = readSync(fd, buffer)) > 0; bytes += read) hash.update(buffer.subarray(0, read));
    return { bytes, sha256: hash.digest('hex') };
  } finally {
    closeSync(fd);
  }
}

function readTensors(file: string): Record<string, Tensor> {
  const checkpoint = openSafetensors(file);
  return Object.fromEntries(checkpoint.names().map((name) => [name, checkpoint.load(name)]));
}

function readPointer(dir: string, pointer: 'latest' | 'best'): string | undefined {
  try {
    const name = readFileSync(join(dir, pointer), 'utf8').trim();
    return CHECKPOINT_NAME.test(name) ? basename(name) : undefined;
  } catch {
    return undefined;
  }
}

/** Flushes a directory's entries to disk. */
function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const isDirectory = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
