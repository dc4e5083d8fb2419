// The matrix products of a TTT optimizer step: what compacted rows need, and what all rows of all steps would.

import { pack } from '../../../dist/data/packing.js';
import { candidateRows } from '../../../dist/draft/rows.js';

/**
 * @returns {{ compact: Product[], dense: Product[] }} each product is [m,k]·[k,n], `count` times, forward and backward
 */
export function productsOfStep(config, samples, { steps, vocab, mask = 'serving' }) {
  const batch = pack(samples, 'index');
  const { masks, prefix, teacher } = candidateRows(batch, { steps, mask });
  const positions = Array.from(batch.positionIds);
  const slots = masks.map((_, s) => positions.filter((_, i) => masks.slice(s).some((step) => step[i])));
  const supervised = masks.map((step) => step.reduce((a, b) => a + b, 0));
  const lengths = (lists) => lists.map(({ length }) => length);
  const all = masks.map(() => positions);
  return {
    compact: list(config, steps, {
      vocab,
      teacher: teacher.length,
      prefix: prefix.length,
      active: lengths(slots),
      supervised,
      keys: slots.map(averageKeys),
    }),
    dense: list(config, steps, {
      vocab,
      teacher: positions.length,
      prefix: positions.length,
      active: lengths(all),
      supervised: lengths(all),
      keys: all.map(averageKeys),
    }),
  };
}

/** Causal: a query sees the slots up to its own, and the key of its slot at every step after the first. */
function averageKeys(positions, step) {
  if (positions.length === 0) return 0;
  return positions.reduce((sum, position) => sum + position + 1, 0) / positions.length + step;
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
    add(n * group, d, Math.round(rows.keys[s]), 7 * numKeyValueHeads);
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
