import type { KVCache, Sample, Target } from '../models/target.js';
import { narrow, ops, scope, toInts, type Tensor } from '../tensor.js';

export interface GenerateOptions {
  maxNewTokens: number;
  /** Ids that end the text; the target's if absent. */
  eosTokenIds?: readonly number[];
  /** Called with every token as it is made. */
  onToken?: (id: number) => void;
}

export interface Generation {
  /** New tokens, the one that ended the text included. */
  ids: Int32Array;
  /** What ended it. */
  finish: 'eos' | 'length';
  /** Time of the prompt's forward pass and the first token. */
  prefillSeconds: number;
  /** Time of all tokens after the first. */
  decodeSeconds: number;
}

/** The target's most likely token after each row of last hidden states [n, H], the lowest id on ties. */
export function greedyTokens(target: Target, lastHiddenStates: Tensor): Int32Array {
  return scope(() => toInts(ops.argmax(target.logits(lastHiddenStates))));
}

/**
 * Greedy autoregressive decoding of one sample: what speculative decoding must reproduce. Token t of the whole text has
 * position t + positionDelta on every axis.
 */
export function generateGreedy(target: Target, sample: Sample, options: GenerateOptions): Generation {
  const { maxNewTokens, eosTokenIds = target.info.eosTokenIds, onToken } = options;
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
    throw new RangeError(`[generate] maxNewTokens: expected a positive integer, received ${maxNewTokens}`);
  }
  const cache = target.newCache();
  try {
    const started = performance.now();
    const ids = [prefillToken(target, sample, cache)];
    const prefilled = performance.now();
    onToken?.(ids[0]!);
    while (ids.length < maxNewTokens && !eosTokenIds.includes(ids.at(-1)!)) {
      const token = nextToken(target, cache, ids.at(-1)!, cache.length + sample.positionDelta);
      ids.push(token);
      onToken?.(token);
    }
    return {
      ids: Int32Array.from(ids),
      finish: eosTokenIds.includes(ids.at(-1)!) ? 'eos' : 'length',
      prefillSeconds: (prefilled - started) / 1000,
      decodeSeconds: (performance.now() - prefilled) / 1000,
    };
  } finally {
    cache.dispose();
  }
}

function prefillToken(target: Target, sample: Sample, cache: KVCache): number {
  return scope(() => {
    const { lastHiddenStates } = target.prefill([sample], { auxLayerIds: [], caches: [cache] });
    const last = narrow(lastHiddenStates, 0, sample.inputIds.length - 1, 1);
    return greedyTokens(target, last)[0]!;
  });
}

function nextToken(target: Target, cache: KVCache, token: number, position: number): number {
  return scope(() => {
    const { lastHiddenStates } = target.decode(cache, Int32Array.of(token), Float32Array.of(position), []);
    return greedyTokens(target, lastHiddenStates)[0]!;
  });
}
