import { createHash } from 'node:crypto';
import { openCheckpoint, type Checkpoint } from '../hub/safetensors.js';
import type { Json } from './rope-json.js';
import type { TargetFacts } from './target-facts.js';

/** JSON with the keys of every object in order, so that equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner as Json).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** SHA-256 of what config.json says of the decoder: equal however transformers nested and named the keys. */
export function configFingerprint({ dir: _dir, stopTokenIds: _ids, ...facts }: TargetFacts): string {
  return createHash('sha256').update(canonicalJson(facts)).digest('hex');
}

const OTHER_TOWERS = /visual|vision|audio|talker|code2wav/;

const FINAL_NORM = /^(?!.*layers\.\d)(?:.*\.)?(norm\.weight)$/;

/** Weights that identify a checkpoint: their names within the decoder, and in the file. */
function identifyingWeights(checkpoint: Checkpoint, numLayers: number): [string, string][] {
  const lastLayer = new RegExp(`(?:^|\\.)layers\\.${numLayers - 1}\\.(.+)$`);
  return checkpoint
    .names()
    .filter((name) => !OTHER_TOWERS.test(name) && !name.includes('.experts.'))
    .flatMap((name): [string, string][] => {
      const key = (lastLayer.exec(name) ?? FINAL_NORM.exec(name))?.[1];
      return key === undefined ? [] : [[key, name]];
    })
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * SHA-256 of the last decoder layer (without experts) and the final norm: tells apart fine-tunings of one model, whose
 * configs are equal, without reading all of it.
 *
 * @throws Error where the directory holds no such weights
 */
export function weightsFingerprint({ dir, numLayers }: TargetFacts): string {
  const checkpoint = openCheckpoint(dir);
  const weights = identifyingWeights(checkpoint, numLayers);
  if (weights.length === 0)
    throw new Error(`${dir}: no weights of decoder layer ${numLayers - 1} were found`);
  const hash = createHash('sha256');
  for (const [key, name] of weights) {
    const { dtype, shape } = checkpoint.info(name);
    hash.update(`${key} ${dtype} ${shape.join('x')}\n`).update(checkpoint.readBytes(name));
  }
  return hash.digest('hex');
}

/** Name of the target's input embedding [V, H] in its checkpoint. */
export function embeddingName(checkpoint: Checkpoint, facts: TargetFacts): string {
  const shape = [facts.vocabSize, facts.hiddenSize].join();
  const name = checkpoint
    .names()
    .filter((candidate) => /(?:^|\.)(?:embed_tokens|tok_embeddings)\.weight$/.test(candidate))
    .find((candidate) => !OTHER_TOWERS.test(candidate) && checkpoint.info(candidate).shape.join() === shape);
  if (name === undefined) throw new Error(`${checkpoint.source}: no embedding of shape [${shape}] was found`);
  return name;
}
