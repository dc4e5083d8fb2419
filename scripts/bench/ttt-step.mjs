#!/usr/bin/env node
// Times a TTT optimizer step (features given, so the draft's own work) and compares it with the machine's ceiling: the
// same matrix products, one by one, on oneDNN in the same run.
//
//   node scripts/bench/ttt-step.mjs [--hidden 1024] [--intermediate 2816] [--heads 16] [--kv-heads 4] [--head-dim 64]
//     [--vocab 32000] [--draft-vocab 8000] [--prompt 1024] [--answer 160] [--sequences 1] [--steps 7]
//     [--dtype float32|bfloat16] [--repeat 5] [--json]

import { parseArgs } from 'node:util';
import { Eagle3Draft, eagle3Shapes } from '../../dist/draft/eagle3.js';
import { DraftVocabulary } from '../../dist/draft/vocabulary.js';
import { native } from '../../dist/native.js';
import { keep, ops, scope, tensor } from '../../dist/tensor.js';
import { Eagle3Trainer } from '../../dist/training/trainer.js';
import { productsOfStep } from './products.mjs';

const number = (value) => ({ type: 'string', default: String(value) });
const { values } = parseArgs({
  options: {
    hidden: number(1024),
    intermediate: number(2816),
    heads: number(16),
    'kv-heads': number(4),
    'head-dim': number(64),
    vocab: number(32000),
    'draft-vocab': number(8000),
    prompt: number(1024),
    answer: number(160),
    sequences: number(1),
    steps: number(7),
    repeat: number(5),
    dtype: { type: 'string', default: 'float32' },
    json: { type: 'boolean', default: false },
  },
});
const n = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Number(value)]));
const { dtype } = values;

const config = {
  hiddenSize: n.hidden,
  intermediateSize: n.intermediate,
  numHeads: n.heads,
  numKeyValueHeads: n['kv-heads'],
  headDim: n['head-dim'],
  rmsNormEps: 1e-6,
  vocabSize: n.vocab,
  draftVocabSize: n['draft-vocab'],
  numAuxHiddenStates: 3,
  maxPositionEmbeddings: 32768,
  rotary: { theta: 1e6, headDim: n['head-dim'], partialRotaryFactor: 1 },
  axes: 1,
};
const length = n.prompt + n.answer;
const samples = Array.from({ length: n.sequences }, (_, b) => ({
  id: String(b),
  inputIds: Int32Array.from({ length }, (_, t) => (t * 7919 + b) % n.vocab),
  lossMask: Uint8Array.from({ length }, (_, t) => (t >= n.prompt ? 1 : 0)),
  positionIds: Float32Array.from({ length }, (_, t) => t),
  axes: 1,
  positionDelta: 0,
  media: [],
  modality: 'text',
}));

const random = (shape, std, seed) => keep(ops.randomNormal(shape, std, BigInt(seed)));
const rows = length * n.sequences;
const aux = random([rows, 3 * n.hidden], 1, 1);
const last = random([rows, n.hidden], 1, 2);
const weightDtype = (t) => (dtype === 'bfloat16' ? keep(t.cast('bfloat16')) : t);
const target = {
  embedTokens: weightDtype(random([n.vocab, n.hidden], 0.02, 3)),
  lmHead: weightDtype(random([n.vocab, n.hidden], 0.02, 4)),
  prefill: () => ({ auxHiddenStates: aux, lastHiddenStates: last }),
};
const vocabulary = new DraftVocabulary(
  Int32Array.from({ length: n['draft-vocab'] }, (_, i) => i),
  n.vocab,
);
const weights = Object.fromEntries(
  Object.entries(eagle3Shapes(config)).map(([name, shape], i) => [name, random(shape, 0.02, 10 + i)]),
);
const draft = new Eagle3Draft(config, weights, { compute: dtype, trained: true });
const trainer = new Eagle3Trainer(target, draft, vocabulary, {
  steps: n.steps,
  decay: 0.8,
  mask: 'serving',
  outOfVocabulary: 'keep',
  normalization: 'tokens',
  gradClip: 0.5,
  optimizer: { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0 },
  contract: {
    engine: 'sglang',
    auxLayerIds: [2, 12, 21],
    multimodalEmbedding: 'placeholder',
    positions: 'index',
    deepstack: 'before',
    positionRule: 'engines',
  },
});

const seconds = (body) => {
  const started = performance.now();
  body();
  return (performance.now() - started) / 1000;
};
const best = (body, repeat) => Math.min(...Array.from({ length: repeat }, () => seconds(body)));

native.resetPeakMemory();
trainer.step([samples], 1e-4); // first call: primitives are made
const step = best(() => trainer.step([samples], 1e-4), n.repeat);

// The ceiling: every product of the step alone, best of three, with operands as the step has them.
const products = productsOfStep(config, samples, { steps: n.steps, vocab: n.vocab });
let arithmetic = 0;
let dense = 0;
let ceiling = 0;
const timed = new Map();
for (const { m, k, n: cols, count } of products.compact) {
  const key = `${m}x${k}x${cols}`;
  if (!timed.has(key)) {
    const time = scope(() => {
      const operand = (shape) => tensor(new Float32Array(shape[0] * shape[1]).fill(0.5), shape).cast(dtype);
      const [a, b] = [operand([m, k]), operand([cols, k])];
      const out = ops.zeros([m, cols], 'float32');
      const run = () => ops.matmul(a, b, { transposeB: true, out });
      run();
      const result = best(run, 3);
      a.dispose();
      b.dispose();
      return result;
    });
    timed.set(key, time);
  }
  ceiling += count * timed.get(key);
  arithmetic += count * 2 * m * k * cols;
}
for (const { m, k, n: cols, count } of products.dense) dense += count * 2 * m * k * cols;

const report = {
  shape: { ...n, dtype },
  threads: native.info().threads,
  isa: native.info().isa,
  rows_total: rows,
  gflop: arithmetic / 1e9,
  gflop_dense: dense / 1e9,
  arithmetic_saved: dense / arithmetic,
  seconds: step,
  gflops: arithmetic / step / 1e9,
  ceiling_seconds: ceiling,
  ceiling_gflops: arithmetic / ceiling / 1e9,
  ratio: ceiling / step,
  tokens_per_second: rows / step,
  peak_bytes: native.memory().peakBytes,
};
if (values.json) console.log(JSON.stringify(report));
else {
  console.log(
    `${rows} rows (${n.prompt} + ${n.answer} × ${n.sequences}), H ${n.hidden}, ${dtype}, ${report.threads} threads, ${report.isa}`,
  );
  console.log(
    `arithmetic     ${report.gflop.toFixed(1)} GFLOP (dense: ${report.gflop_dense.toFixed(1)}, ${report.arithmetic_saved.toFixed(1)}× more)`,
  );
  console.log(`optimizer step ${step.toFixed(3)} s, ${report.gflops.toFixed(0)} GFLOP/s`);
  console.log(
    `ceiling        ${ceiling.toFixed(3)} s, ${report.ceiling_gflops.toFixed(0)} GFLOP/s in the same products on oneDNN`,
  );
  console.log(`ratio          ${(100 * report.ratio).toFixed(0)}%`);
  console.log(`peak memory    ${(report.peak_bytes / 2 ** 20).toFixed(0)} MiB of tensors`);
}
