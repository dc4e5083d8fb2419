import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonObject } from '../hub/files.js';
import { loadWeights } from '../hub/weights.js';
import type { TargetInfo } from '../models/target.js';
import { readAuxLayers } from '../serving/aux-layers.js';
import { resolveContract, type Engine, type ServingContract } from '../serving/contract.js';
import { parseDraftConfig } from '../serving/draft-config.js';
import { configFile, DraftWeights } from '../serving/draft-files.js';
import { MANIFEST_FILE, readManifest, type DraftManifest } from '../serving/manifest.js';
import type { Json } from '../serving/rope-json.js';
import type { DType, Tensor } from '../tensor.js';
import { eagle3Shapes, type Eagle3Config } from './eagle3.js';
import { DraftVocabulary } from './vocabulary.js';

export interface LoadedDraft {
  config: Eagle3Config;
  /** By the names of `eagle3Shapes`; they belong to the current scope. */
  weights: Record<string, Tensor>;
  vocabulary: DraftVocabulary;
  contract: ServingContract;
  /** eyas.json, where there is one. */
  manifest?: DraftManifest;
}

export interface LoadDraftOptions {
  /** Element type in memory; float32 if absent. */
  dtype?: DType;
  /** For a draft without eyas.json: the target, whose number of layers gives the default aux layers … */
  target?: TargetInfo;
  /** … and the engine whose rules it is taken to follow; sglang if absent. */
  engine?: Engine;
}

const RENAME = [
  ['model.layers.0.', 'midlayer.'],
  ['layers.0.', 'midlayer.'],
  ['model.', ''],
] as const;

const NOT_WEIGHTS = /^(?:model\.)?(?:d2t|t2d|embed_tokens\.weight)$/;

function readVocabulary(weights: DraftWeights, config: Eagle3Config, dir: string): DraftVocabulary {
  const d2t = weights.d2t();
  if (d2t?.length === config.draftVocabSize) return DraftVocabulary.fromD2t(d2t, config.vocabSize);
  if (!d2t && config.draftVocabSize === config.vocabSize) {
    return new DraftVocabulary([...Array(config.vocabSize).keys()], config.vocabSize);
  }
  throw new Error(
    `${dir}: d2t: expected ${config.draftVocabSize} entries, received ${d2t?.length ?? 'no such tensor'}`,
  );
}

/** The contract of a draft that eyas did not export, from what its config says and an engine's defaults. */
function impliedContract(
  json: Json,
  dir: string,
  config: Eagle3Config,
  options: LoadDraftOptions,
): ServingContract {
  const { target, engine = 'sglang' } = options;
  if (!target) {
    throw new Error(
      `${dir}: expected ${MANIFEST_FILE} with the serving contract, or the target to infer it from`,
    );
  }
  const { topLevel, nested } = readAuxLayers(json);
  const ids = topLevel ?? (Array.isArray(nested) ? nested.map((id) => Number(id) + 1) : undefined);
  return resolveContract(
    {
      engine,
      positions: config.axes === 3 ? 'mrope' : 'index',
      ...(Array.isArray(ids) && { auxLayerIds: ids.map(Number) }),
    },
    target,
  );
}

/**
 * Loads an exported draft directory, or one of another trainer as far as its config describes a draft that eyas can run.
 *
 * @throws Error naming the file, key or tensors that are missing or do not fit
 */
export function loadDraft(dir: string, options: LoadDraftOptions = {}): LoadedDraft {
  const file = configFile(dir);
  const json = readJsonObject(file);
  const config = parseDraftConfig(json, file);
  const manifestFile = join(dir, MANIFEST_FILE);
  const manifest = existsSync(manifestFile) ? readManifest(manifestFile) : undefined;
  const contract = manifest?.contract ?? impliedContract(json, dir, config, options);
  const files = new DraftWeights(dir);
  const vocabulary = readVocabulary(files, config, dir);
  const weights = loadWeights(files.checkpoint, eagle3Shapes(config), {
    rename: RENAME,
    ignore: [NOT_WEIGHTS],
    dtype: options.dtype ?? 'float32',
  });
  return {
    config,
    weights: Object.fromEntries(weights),
    vocabulary,
    contract,
    ...(manifest && { manifest }),
  };
}
