import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { eagle3Shapes } from '../draft/eagle3.js';
import { DraftVocabulary } from '../draft/vocabulary.js';
import { resolveModel } from '../hub/resolve.js';
import { openSafetensors } from '../hub/safetensors.js';
import { readTargetInfo } from '../models/registry.js';
import { scope } from '../tensor.js';
import { readState, weightsFile } from '../training/checkpoint.js';
import { draftConfig } from '../training/setup.js';
import { resolveContract } from './contract.js';
import { writeDraft, type WriteDraftOptions } from './write-draft.js';

export interface ExportOptions extends WriteDraftOptions {
  /** A `step-NNNNNN` directory of a run. */
  checkpoint: string;
  /** Target: a checkpoint directory, or a hub id in the local cache; the one that the run names if absent. */
  model?: string;
  /** Directory to write; an earlier export there is replaced. */
  out: string;
  /** Results to write into eyas.json beside those of the checkpoint. */
  metrics?: Record<string, unknown>;
}

export interface ExportResult {
  /** Absolute path of the directory. */
  path: string;
  files: { name: string; bytes: number }[];
}

async function fileSizes(dir: string): Promise<ExportResult['files']> {
  const names = (await readdir(dir)).sort();
  return Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(dir, name))).size })));
}

/**
 * Writes a checkpoint as a draft directory that SGLang and vLLM load.
 *
 * @throws Error where the checkpoint and the target do not fit each other, or `out` holds other files
 */
export async function exportDraft(options: ExportOptions): Promise<ExportResult> {
  const { step, counts, best, config, dataFingerprint } = readState(options.checkpoint);
  const targetDir = resolveModel(options.model ?? config.model);
  const target = readTargetInfo(targetDir);
  const contract = resolveContract({ ...config.serving, auxLayerIds: config.draft.auxLayerIds }, target);
  const path = scope(() => {
    const saved = openSafetensors(weightsFile(options.checkpoint));
    const d2t = saved.load('d2t').toTypedArray() as BigInt64Array;
    const vocabulary = DraftVocabulary.fromD2t(d2t, target.vocabSize);
    const shape = draftConfig(config.draft, target, vocabulary, contract);
    return writeDraft(
      {
        weights: Object.fromEntries(Object.keys(eagle3Shapes(shape)).map((name) => [name, saved.load(name)])),
        config: shape,
        vocabulary,
        contract,
        target,
        targetDir,
        dataFingerprint,
        metrics: { step, ...counts, ...(best && { best }), ...options.metrics },
      },
      options.out,
      options,
    );
  });
  return { path, files: await fileSizes(path) };
}
