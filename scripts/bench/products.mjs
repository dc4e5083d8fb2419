// The matrix products of a TTT optimizer step: what compacted rows need, and what all rows of all steps would.

import { pack } from '../../dist/data/packing.js';
import { candidateRows } from '../../dist/draft/rows.js';

/**
 * @returns {{ compact: Product[], dense: Product[] }} each product is [m,k]·[k,n], `count` times, forward and backward
 */
export function productsOfStep(config, samples, { steps, vocab }) {
  const batch = pack(samples, 'index');
  const { masks, prefix, teacher } = candidateRows(batch, { steps, mask: 'serving' });
  const active = masks.map((_, s) =>
    batch.lossMask.reduce((sum, _, i) => sum + (masks.slice(s).some((mask) => mask[i]) ? 1 : 0), 0),
  );
  const supervised = masks.map((mask) => mask.reduce((a, b) => a + b, 0));
  const keys = samples.length === 1 ? prefix.length : prefix.length / samples.length;
  return {
    compact: list(config, steps, {
      vocab,
      teacher: teacher.length,
      prefix: prefix.length,
      active,
      supervised,
      // Causal: a query sees its own prefix, on average all but half of the supervised part.
      averageKeys: keys - active[0] / samples.length / 2,
    }),
    dense: list(config, steps, {
      vocab,
      teacher: batch.inputIds.length,
      prefix: batch.inputIds.length,
      active: active.map(() => batch.inputIds.length),
      supervised: active.map(() => batch.inputIds.length),
      averageKeys: batch.inputIds.length / samples.length / 2,
    }),
  };
}

function list(config, steps, rows) {
  const {
    hiddenSize: h,
    intermediateSize: i,
    headDim: d,
    numHeads,
    numKeyValueHeads,
    draftVocabSize,
  } = config;
  const products = [];
  const add = (m, k, n, count = 1) => products.push({ m, k, n, count });
  /** Forward, gradient of the input, gradient of the weight. */
  const trained = (m, k, n, inputGradient = true) => {
    add(m, k, n);
    if (inputGradient) add(m, n, k);
    add(n, m, k);
  };
  add(rows.teacher, h, rows.vocab); // argmax
  add(rows.teacher, h, draftVocabSize); // distribution
  trained(rows.prefix, config.numAuxHiddenStates * h, h, false);
  for (let s = 0; s < steps; s++) {
    const n = rows.active[s];
    const kv = s === 0 ? rows.prefix : n;
    trained(n, 2 * h, numHeads * d);
    trained(kv, 2 * h, numKeyValueHeads * d);
    trained(kv, 2 * h, numKeyValueHeads * d);
    trained(n, numHeads * d, h);
    trained(n, h, i);
    trained(n, h, i);
    trained(n, i, h);
    trained(rows.supervised[s], h, draftVocabSize);
    // Scores and values forward, five products backward, per head.
    add(n, d, Math.round(rows.averageKeys), 7 * numHeads);
  }
  return products;
}
