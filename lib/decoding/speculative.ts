import type { Sample, Target } from '../models/target.js';
import type { ServingContract } from '../serving/contract.js';
import { narrow, ops, scope, tensor, toInts, type Tensor } from '../tensor.js';
import type { DraftContext, DraftDecoder } from './draft-decoder.js';
import { greedyTokens, type GenerateOptions, type Generation } from './generate.js';

export interface SpeculativeOptions extends GenerateOptions {
  /** K: tokens that the draft proposes in a round. */
  chainLength: number;
}

export interface SpeculativeGeneration extends Generation {
  /** Verification rounds. */
  rounds: number;
  /** [K]: rounds in which the first k + 1 proposals were accepted. */
  acceptedByPosition: number[];
}

/** Most proposals of a round. */
export const maxChainLength = 15;

/**
 * Greedy decoding of one sample with chain drafting and greedy verification: the text is token for token what
 * `generateGreedy` gives. A round verifies K proposals in one forward pass of the target; as engines count, proposals
 * behind the end of the text were not accepted.
 */
export function generateSpeculative(
  target: Target,
  draft: DraftDecoder,
  contract: ServingContract,
  sample: Sample,
  options: SpeculativeOptions,
): SpeculativeGeneration {
  const { maxNewTokens, chainLength, eosTokenIds = target.info.eosTokenIds, onToken } = options;
  // The target gives every row the same bits however many are decoded together up to 16, the token before the proposals
  // included; beyond that a near tie could come out otherwise than one by one.
  if (!Number.isInteger(chainLength) || chainLength < 1 || chainLength > maxChainLength) {
    throw new RangeError(
      `[speculative] chainLength: expected an integer from 1 to ${maxChainLength}, received ${chainLength}`,
    );
  }
  const cache = target.newCache();
  const acceptedByPosition = new Array<number>(chainLength).fill(0);
  let rounds = 0;
  const ids: number[] = [];
  const push = (token: number) => {
    ids.push(token);
    onToken?.(token);
  };
  const ended = () => eosTokenIds.includes(ids.at(-1)!) || ids.length >= maxNewTokens;
  draft.reset();
  try {
    const started = performance.now();
    const merged = contract.multimodalEmbedding === 'merged' && sample.media.length > 0;
    const prompt = scope(() => {
      const { lastHiddenStates, auxHiddenStates, inputEmbeddings } = target.prefill([sample], {
        auxLayerIds: contract.auxLayerIds,
        deepstack: contract.deepstack,
        inputEmbeddings: merged,
        caches: [cache],
      });
      const last = narrow(lastHiddenStates, 0, sample.inputIds.length - 1, 1);
      push(greedyTokens(target, last)[0]!);
      return { auxHiddenStates, inputEmbeddings };
    });
    const prefilled = performance.now();
    let proposals = ended()
      ? new Int32Array()
      : scope(() => draft.propose(promptContext(target, draft, sample, prompt, ids[0]!), chainLength));
    for (const t of Object.values(prompt)) t?.dispose();
    while (!ended()) {
      const first = cache.length;
      proposals = scope(() => {
        const fed = Int32Array.of(ids.at(-1)!, ...proposals);
        const positions = Float32Array.from(fed, (_, i) => first + i + sample.positionDelta);
        const { auxHiddenStates, lastHiddenStates } = target.decode(
          cache,
          fed,
          positions,
          contract.auxLayerIds,
        );
        const choices = toInts(ops.argmax(target.logits(lastHiddenStates)));
        rounds += 1;
        let accepted = 0;
        for (; accepted < chainLength && choices[accepted] === proposals[accepted] && !ended(); accepted++) {
          push(proposals[accepted]!);
          acceptedByPosition[accepted]! += 1;
        }
        if (!ended()) push(choices[accepted]!);
        cache.truncate(first + accepted + 1);
        if (ended()) return proposals;
        const rows = accepted + 1;
        const next = tensor(Int32Array.from(ids.slice(ids.length - rows)), [rows]);
        return draft.propose(
          {
            features: narrow(auxHiddenStates, 0, 0, rows),
            embeddings: ops.gatherRows(target.embedTokens, next),
            positions: textPositions(draft, contract, sample, first, rows),
          },
          chainLength,
        );
      });
    }
    return {
      ids: Int32Array.from(ids),
      finish: eosTokenIds.includes(ids.at(-1)!) ? 'eos' : 'length',
      prefillSeconds: (prefilled - started) / 1000,
      decodeSeconds: (performance.now() - prefilled) / 1000,
      rounds,
      acceptedByPosition,
    };
  } finally {
    cache.dispose();
  }
}

/** The slots of the prompt: each sees the embedding of the token after it, the last that of the first new token. */
function promptContext(
  target: Target,
  draft: DraftDecoder,
  sample: Sample,
  prompt: { auxHiddenStates: Tensor; inputEmbeddings?: Tensor | undefined },
  firstToken: number,
): DraftContext {
  const { inputIds, positionIds, axes } = sample;
  const length = inputIds.length;
  const first = ops.gatherRows(target.embedTokens, tensor(Int32Array.of(firstToken), [1]));
  const shifted = prompt.inputEmbeddings
    ? narrow(prompt.inputEmbeddings, 0, 1, length - 1)
    : ops.gatherRows(target.embedTokens, tensor(inputIds.slice(1), [length - 1]));
  return {
    features: prompt.auxHiddenStates,
    embeddings: ops.cat([shifted, first], 0),
    positions: draft.config.axes === axes && axes === 3 ? positionIds : Float32Array.from(inputIds.keys()),
  };
}

/** Positions of `rows` text slots from `first` on, on the draft's axes. */
function textPositions(
  draft: DraftDecoder,
  contract: ServingContract,
  sample: Sample,
  first: number,
  rows: number,
): Float32Array {
  const delta = contract.positions === 'mrope' ? sample.positionDelta : 0;
  return Float32Array.from({ length: draft.config.axes * rows }, (_, i) => first + (i % rows) + delta);
}
