import { Tape } from '../autograd.js';
import type { Eagle3Draft } from '../draft/eagle3.js';
import type { DraftVocabulary } from '../draft/vocabulary.js';
import type { DraftChain } from '../native.js';
import { narrow, ops, scope, tensor, toInts, type Tensor } from '../tensor.js';

/** What the addon's draft chain does in one call on the CPU, one operation after another: for a GPU. */
export class DraftChainOfOperations implements DraftChain {
  /** Takes over the draft. */
  constructor(
    readonly draft: Eagle3Draft,
    readonly vocabulary: DraftVocabulary,
    readonly embedTokens: Tensor,
  ) {}

  propose(
    features: Tensor,
    embeddings: Tensor,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    start: number,
    count: number,
  ): Int32Array {
    const { draft } = this;
    const proposals = new Int32Array(count);
    scope(() => {
      const tape = new Tape(false);
      const cache = { k: tape.constant(keys), v: tape.constant(values) };
      const begin = tensor(Int32Array.of(0), [1]);
      let hidden = draft.project(tape, features);
      let embedding = embeddings;
      // The slots first, then each proposal but the last.
      for (let s = 0, at = 0; ; s++) {
        const rows = hidden.value.shape[0]!;
        const own = draft.queriesAndKeys(
          tape,
          draft.embeddedQueriesAndKeys(tape, embedding),
          draft.normHidden(tape, hidden),
          { cos: narrow(cos, 0, at, rows), sin: narrow(sin, 0, at, rows) },
        );
        narrow(keys, 0, start + at, rows).copyFrom(own.keys.k.value);
        narrow(values, 0, start + at, rows).copyFrom(own.keys.v.value);
        at += rows;
        const last = (t: Tensor) => tape.constant(narrow(t, 0, rows - 1, 1));
        const ranges = { begin, end: tensor(Int32Array.of(start + at), [1]) };
        hidden = draft.layer(tape, last(hidden.value), last(own.q.value), cache, ranges);
        const choice = ops.linearArgmax(draft.finalNorm(tape, hidden).value, draft.lmHead.weight.compute);
        proposals[s] = this.vocabulary.targetIds[toInts(choice)[0]!]!;
        if (s + 1 === count) return;
        embedding = ops.gatherRows(this.embedTokens, tensor(proposals.slice(s, s + 1), [1]));
      }
    });
    return proposals;
  }

  dispose(): void {
    this.draft.dispose();
  }
}
