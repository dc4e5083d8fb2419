import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { eagle3Shapes, type Eagle3Config } from '../draft/eagle3.js';
import type { DraftVocabulary } from '../draft/vocabulary.js';
import { writeFileAtomic } from '../hub/files.js';
import { openCheckpoint } from '../hub/safetensors.js';
import { writeSafetensors, type ArrayTensor } from '../hub/safetensors-writer.js';
import type { TargetInfo } from '../models/target.js';
import { cast, scope, type Tensor } from '../tensor.js';
import { version } from '../version.js';
import type { ServingContract } from './contract.js';
import { CONFIG_FILE, WEIGHTS_FILE } from './draft-files.js';
import { draftConfigJson, parseDraftConfig, type WeightDType } from './draft-config.js';
import { MANIFEST_FILE, manifestJson } from './manifest.js';
import { readTargetFacts } from './target-facts.js';
import { configFingerprint, embeddingName, weightsFingerprint } from './target-identity.js';

/** A trained draft and what it belongs to. */
export interface DraftContent {
  /** Named and shaped as `eagle3Shapes` says. */
  weights: Record<string, Tensor>;
  config: Eagle3Config;
  vocabulary: DraftVocabulary;
  contract: ServingContract;
  target: TargetInfo;
  /** Model directory of the target. */
  targetDir: string;
  /** Of the training records and the draft vocabulary. */
  dataFingerprint?: string;
  /** What training and evaluation measured; written into eyas.json as it is. */
  metrics?: Record<string, unknown>;
}

export interface WriteDraftOptions {
  /** Of the weights in the file; bfloat16 if absent, what engines compute in. */
  dtype?: WeightDType;
  /**
   * Also write the target's input embedding. Off by default: SGLang replaces it by the target's, vLLM shares the
   * target's where there is none, and it can be larger than the draft. vLLM needs it under pipeline parallelism, where
   * the draft's rank does not hold the target's.
   */
  includeEmbeddings?: boolean;
}

/** Refuses what could only give a draft that loads and never has a token accepted. */
function assertConsistent({ weights, config, vocabulary, contract, target }: DraftContent): void {
  const expect = (what: string, expected: unknown, received: unknown): void => {
    if (expected === received) return;
    throw new Error(`[export] ${what}: expected ${String(expected)}, received ${String(received)}`);
  };
  for (const [name, shape] of Object.entries(eagle3Shapes(config))) {
    expect(
      `shape of ${name}`,
      `[${shape.join(', ')}]`,
      weights[name] ? `[${weights[name].shape.join(', ')}]` : 'nothing',
    );
  }
  expect('draft vocabulary: size', config.draftVocabSize, vocabulary.size);
  expect("draft vocabulary: target's size", target.vocabSize, vocabulary.vocabSize);
  expect('vocabSize', target.vocabSize, config.vocabSize);
  expect('hiddenSize', target.hiddenSize, config.hiddenSize);
  expect('numAuxHiddenStates', contract.auxLayerIds.length, config.numAuxHiddenStates);
  expect('rope theta', target.rotary.theta, config.rotary.theta);
  expect(
    `axes of a draft with ${contract.positions} positions`,
    contract.positions === 'mrope' ? 3 : 1,
    config.axes,
  );
}

function embeddings(draft: DraftContent): Tensor {
  const checkpoint = openCheckpoint(draft.targetDir);
  return checkpoint.load(embeddingName(checkpoint, readTargetFacts(draft.targetDir)));
}

/** Draft ids and target ids of each other; a draft with the whole vocabulary needs neither. */
function vocabularyTensors(vocabulary: DraftVocabulary): Record<string, ArrayTensor> {
  if (vocabulary.size === vocabulary.vocabSize) return {};
  return {
    d2t: { dtype: 'int64', shape: [vocabulary.size], data: vocabulary.d2t() },
    t2d: { dtype: 'bool', shape: [vocabulary.vocabSize], data: vocabulary.t2d() },
  };
}

function writeWeights(
  file: string,
  draft: DraftContent,
  dtype: WeightDType,
  includeEmbeddings: boolean,
): void {
  scope(() => {
    const names = Object.keys(eagle3Shapes(draft.config));
    const tensors: Record<string, Tensor | ArrayTensor> = {
      ...Object.fromEntries(names.map((name) => [name, cast(draft.weights[name]!, dtype)])),
      ...(includeEmbeddings && { 'embed_tokens.weight': cast(embeddings(draft), dtype) }),
      ...vocabularyTensors(draft.vocabulary),
    };
    writeSafetensors(file, tensors, { format: 'pt' });
  });
}

/** An empty place, or an export of eyas that may be replaced. */
function assertReplaceable(dir: string): void {
  if (!existsSync(dir) || existsSync(join(dir, MANIFEST_FILE)) || readdirSync(dir).length === 0) return;
  throw new Error(
    `[export] ${dir}: expected a new or empty directory or an earlier export, received other files`,
  );
}

/** Puts a finished directory in its place; what was there is removed last. */
function moveInto(place: string, finished: string): void {
  const old = `${finished}.replaced`;
  const replaces = existsSync(place);
  if (replaces) renameSync(place, old);
  renameSync(finished, place);
  if (replaces) rmSync(old, { recursive: true });
}

/**
 * Writes a directory that SGLang and vLLM load: config.json, model.safetensors, and eyas.json with the serving contract.
 * It is written beside and renamed when it is whole; an earlier export is replaced.
 *
 * @returns absolute path of the directory
 * @throws Error `[export] …` where parts of the draft disagree with each other or with the target
 */
export function writeDraft(draft: DraftContent, outDir: string, options: WriteDraftOptions = {}): string {
  const { dtype = 'bfloat16', includeEmbeddings = false } = options;
  assertConsistent(draft);
  const place = resolve(outDir);
  assertReplaceable(place);
  const config = draftConfigJson(draft.config, draft.contract, draft.target, dtype);
  const facts = readTargetFacts(draft.targetDir);
  const manifest = manifestJson({
    eyasVersion: version,
    contract: draft.contract,
    draft: parseDraftConfig(config, CONFIG_FILE),
    target: {
      architecture: facts.architecture,
      modelType: facts.modelType,
      configFingerprint: configFingerprint(facts),
      weightsFingerprint: weightsFingerprint(facts),
    },
    dataFingerprint: draft.dataFingerprint,
    metrics: draft.metrics ?? {},
  });
  const beside = join(dirname(place), `.${basename(place)}.tmp-${process.pid}`);
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(beside, { recursive: true });
  try {
    writeFileAtomic(join(beside, CONFIG_FILE), `${JSON.stringify(config, null, 2)}\n`);
    writeFileAtomic(join(beside, MANIFEST_FILE), manifest);
    writeWeights(join(beside, WEIGHTS_FILE), draft, dtype, includeEmbeddings);
    moveInto(place, beside);
  } catch (error) {
    rmSync(beside, { recursive: true, force: true });
    throw error;
  }
  return place;
}
