// The matrix products of a TTT optimizer step: what compacted rows need, and what all rows of all steps would.

import { pack } from '../../../dist/data/packing.js';
import { candidateRows } from '../../../dist/draft/rows.js';

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
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  // Forward and gradient of the input, step by step.
  const through = (m, k, n) => {
    add(m, k, n);
    add(m, n, k);
  };
  const kv = [rows.prefix, ...rows.active.slice(1)];
  const supervised = sum(rows.supervised);
  add(rows.teacher, h, rows.vocab); // argmax
  add(rows.teacher, h, draftVocabSize); // distribution
  add(rows.prefix, config.numAuxHiddenStates * h, h);
  const group = numHeads / numKeyValueHeads;
  for (let s = 0; s < steps; s++) {
    const n = rows.active[s];
    through(n, 2 * h, numHeads * d);
    through(kv[s], 2 * h, numKeyValueHeads * d);
    through(kv[s], 2 * h, numKeyValueHeads * d);
    through(n, numHeads * d, h);
    through(n, h, i);
    through(n, h, i);
    through(n, i, h);
    // Scores and values forward, five products backward, per head of keys.
    add(n * group, d, Math.round(rows.averageKeys), 7 * numKeyValueHeads);
  }
  through(supervised, h, draftVocabSize);
  // Gradients of the weights, over the rows of all steps.
  const active = sum(rows.active);
  add(config.numAuxHiddenStates * h, rows.prefix, h);
  add(numHeads * d, active, 2 * h);
  add(numKeyValueHeads * d, sum(kv), 2 * h, 2);
  add(h, active, numHeads * d);
  add(i, active, h, 2);
  add(h, active, i);
  add(draftVocabSize, supervised, h);
  return products;
}
