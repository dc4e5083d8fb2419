import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { eagle3Shapes } from '../draft/eagle3.js';
import { DraftVocabulary } from '../draft/vocabulary.js';
import { resolveModel } from '../hub/resolve.js';
import { readTargetInfo } from '../models/registry.js';
import { resolveContract } from '../serving/contract.js';
import { exportDraft, type ExportOptions } from '../serving/export.js';
import { scope } from '../tensor.js';
import { findBest, findLatest, loadCheckpoint } from './checkpoint.js';
import { draftConfig } from './setup.js';

export interface ExportCheckpointOptions extends ExportOptions {
  /** `RUN/checkpoints/step-NNNNNN`, or the output directory of a run: its best checkpoint, or its newest. */
  checkpoint: string;
  /** Target: a checkpoint directory, or a hub id in the local cache. */
  model: string;
  /** Directory to write. */
  out: string;
  /** Further results to keep in eyas.json. */
  metrics?: Record<string, unknown>;
}

export interface ExportResult {
  /** Absolute path of the directory. */
  path: string;
  files: { name: string; bytes: number }[];
}

/** Writes the draft of a training checkpoint as a directory that SGLang and vLLM load. */
export function exportCheckpoint(options: ExportCheckpointOptions): ExportResult {
  const targetDir = resolveModel(options.model);
  const checkpoint = checkpointOf(options.checkpoint);
  const path = scope(() => {
    const { tensors, state } = loadCheckpoint(checkpoint);
    const info = readTargetInfo(targetDir);
    const contract = resolveContract(
      { ...state.config.serving, auxLayerIds: state.config.draft.auxLayerIds },
      info,
    );
    const vocabulary = DraftVocabulary.fromD2t(
      tensors['d2t']!.toTypedArray() as BigInt64Array,
      info.vocabSize,
    );
    const config = draftConfig(state.config.draft, info, vocabulary, contract);
    const weights = Object.fromEntries(
      Object.keys(eagle3Shapes(config)).map((name) => [name, tensors[name]!]),
    );
    const metrics = { step: state.step, totalSteps: state.totalSteps, best: state.best, ...options.metrics };
    return exportDraft(
      {
        weights,
        config,
        vocabulary,
        contract,
        target: info,
        targetDir,
        dataFingerprint: state.dataFingerprint,
        metrics,
      },
      options.out,
      options,
    );
  });
  const files = readdirSync(path).sort();
  return { path, files: files.map((name) => ({ name, bytes: statSync(join(path, name)).size })) };
}

function checkpointOf(path: string): string {
  const checkpoints = join(path, 'checkpoints');
  if (!existsSync(checkpoints)) return path;
  const found = findBest(checkpoints) ?? findLatest(checkpoints, () => undefined);
  if (found === undefined) throw new Error(`${checkpoints}: expected a checkpoint, received none`);
  return found;
}
