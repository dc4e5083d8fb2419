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
  const slots = masks.map((_, s) => indices(positions, (i) => masks.slice(s).some((step) => step[i])));
  const read = new Set(slots.flatMap((step, s) => step.map((i) => i + 1 + s)));
  const supervised = masks.map((step) => step.reduce((a, b) => a + b, 0));
  const all = masks.map(() => positions.map((_, i) => i));
  const of = (lists) => ({
    active: lists.map(({ length }) => length),
    keys: lists.map((list, s) => averageKeys(list, positions, s)),
  });
  return {
    compact: compactProducts(config, steps, {
      ...of(slots),
      vocab,
      teacher: teacher.length,
      prefix: prefix.length,
      tokens: read.size,
      supervised,
    }),
    dense: denseProducts(config, steps, { ...of(all), vocab, rows: positions.length }),
  };
}

const indices = (list, test) => list.flatMap((_, i) => (test(i) ? [i] : []));
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Causal: a query sees the slots up to its own, and the key of its slot at every step after the first. */
function averageKeys(slots, positions, step) {
  return slots.length === 0 ? 0 : sum(slots.map((i) => positions[i] + 1)) / slots.length + step;
}

class Products {
  list = [];

  add(m, k, n, count = 1) {
    this.list.push({ m, k, n, count });
  }

  /** Forward and gradient of the input. */
  through(m, k, n) {
    this.add(m, k, n);
    this.add(m, n, k);
  }

  /** Scores and values forward, five products backward, per head of keys. */
  attention({ headDim, numHeads, numKeyValueHeads }, queries, keys) {
    this.add((queries * numHeads) / numKeyValueHeads, headDim, Math.round(keys), 7 * numKeyValueHeads);
  }
}

const widths = ({ numHeads, numKeyValueHeads, headDim }) => ({
  q: numHeads * headDim,
  kv: 2 * numKeyValueHeads * headDim,
});

/**
 * As eyas computes it. q, k and v read the embedding of a token and a hidden state: what they read of the embedding is the
 * same at every step, and its gradient ends at the weights.
 */
function compactProducts(config, steps, rows) {
  const { hiddenSize: h, intermediateSize: i, numAuxHiddenStates, draftVocabSize } = config;
  const { q, kv } = widths(config);
  const products = new Products();
  const active = sum(rows.active);
  const supervised = sum(rows.supervised);
  products.add(rows.teacher, h, rows.vocab);
  products.add(rows.prefix, numAuxHiddenStates * h, h);
  products.add(rows.prefix, h, kv);
  products.add(rows.tokens, h, q + kv);
  for (let s = 0; s < steps; s++) {
    const n = rows.active[s];
    if (s === 0) {
      products.through(n, h, q);
      products.through(rows.prefix, h, kv);
    } else {
      products.through(n, h, q + kv);
    }
    products.through(n, q, h);
    products.through(n, h, 2 * i);
    products.through(n, i, h);
    products.attention(config, n, rows.keys[s]);
  }
  products.through(supervised, h, draftVocabSize);
  // Gradients of the weights, over the rows of all steps.
  products.add(h, rows.prefix, numAuxHiddenStates * h);
  products.add(kv, rows.prefix, h);
  products.add(q + kv, rows.tokens, h);
  products.add(q, rows.active[0], h);
  products.add(kv, rows.prefix, h);
  products.add(q + kv, active - rows.active[0], h);
  products.add(h, active, q);
  products.add(2 * i, active, h);
  products.add(h, active, i);
  products.add(draftVocabSize, supervised, h);
  return products.list;
}

/** As published: everything for all rows of all steps. */
function denseProducts(config, steps, { vocab, rows, keys }) {
  const { hiddenSize: h, intermediateSize: i, numAuxHiddenStates, draftVocabSize } = config;
  const { q, kv } = widths(config);
  const products = new Products();
  products.add(rows, h, vocab);
  products.add(rows, numAuxHiddenStates * h, h);
  products.add(h, rows, numAuxHiddenStates * h);
  for (let s = 0; s < steps; s++) {
    for (const [k, n] of [
      [2 * h, q + kv],
      [q, h],
      [h, 2 * i],
      [i, h],
      [h, draftVocabSize],
    ]) {
      products.through(rows, k, n);
      products.add(n, rows, k);
    }
    products.attention(config, rows, keys[s]);
  }
  return products.list;
}
