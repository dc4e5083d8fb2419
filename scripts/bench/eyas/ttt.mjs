// The eyas side of the `ttt` suite. Weights and inputs are written once, in bfloat16, so that both sides and both element
// types begin with the same values.

import { secondsOutsideNative } from './native-share.mjs'; // first: see there
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Eagle3Draft, eagle3Shapes } from '../../../dist/draft/eagle3.js';
import { DraftVocabulary } from '../../../dist/draft/vocabulary.js';
import { openSafetensors } from '../../../dist/hub/safetensors.js';
import { writeSafetensors } from '../../../dist/hub/safetensors-writer.js';
import { native } from '../../../dist/native.js';
import { cast, keep, narrow, ops, scope, tensor, toFloats, toInts } from '../../../dist/tensor.js';
import { Eagle3Trainer } from '../../../dist/training/trainer.js';
import { device, serve } from '../harness/serve.mjs';
import { productsOfStep } from './products.mjs';

function draftConfig(shape) {
  const headDim = shape.hidden / shape.heads;
  return {
    hiddenSize: shape.hidden,
    intermediateSize: shape.intermediate,
    numHeads: shape.heads,
    numKeyValueHeads: shape.kv_heads,
    headDim,
    rmsNormEps: 1e-6,
    vocabSize: shape.vocab,
    draftVocabSize: shape.draft_vocab,
    numAuxHiddenStates: 3,
    maxPositionEmbeddings: 32768,
    rotary: { theta: 1e6, headDim, partialRotaryFactor: 1 },
    axes: 1,
  };
}

/** Every few ids are in the draft vocabulary. */
const draftIds = (shape) => {
  const every = Math.floor(shape.vocab / shape.draft_vocab);
  return Int32Array.from({ length: shape.draft_vocab }, (_, i) => i * every);
};

function write(path, shape) {
  const config = draftConfig(shape);
  let seed = 1n;
  scope(() => {
    const random = (size, std) => cast(ops.randomNormal(size, std, seed++), 'bfloat16');
    const weights = Object.entries(eagle3Shapes(config)).map(([name, size]) => {
      const weight = random(size, 0.02);
      if (size.length === 1) weight.fill(1);
      return [`draft.${name}`, weight];
    });
    // The target never chooses an id that the draft does not have: no supervised row falls out.
    const chosen = Uint8Array.from({ length: shape.vocab });
    for (const id of draftIds(shape)) chosen[id] = 1;
    const lmHead = ops.randomNormal([shape.vocab, shape.hidden], 0.02, seed++);
    for (let id = 0; id < shape.vocab; id++) if (!chosen[id]) narrow(lmHead, 0, id, 1).fill(0);
    writeSafetensors(path, {
      ...Object.fromEntries(weights),
      embed_tokens: random([shape.vocab, shape.hidden], 0.02),
      target_lm_head: cast(lmHead, 'bfloat16'),
      aux_hidden_states: random([shape.tokens, 3 * shape.hidden], 1),
      last_hidden_states: random([shape.tokens, shape.hidden], 1),
      input_ids: tensor(
        Int32Array.from({ length: shape.tokens }, (_, t) => (t * 7919 + 1) % shape.vocab),
        [shape.tokens],
      ),
      draft_ids: tensor(draftIds(shape), [shape.draft_vocab]),
    });
  });
}

let trainer;
let samples;
let config;
let steps;
let vocab;
/** What turns the mean over supervised rows into the peer's mean. */
let lossShare;

function load({ folder, shape, dtype, rules }) {
  const path = join(folder, 'step.safetensors');
  if (!existsSync(path)) write(path, shape);
  ({ steps, vocab } = shape);
  config = draftConfig(shape);
  const file = openSafetensors(path);
  const read = (name, type) => scope(() => file.load(name, type));
  const target = {
    embedTokens: read('embed_tokens', dtype),
    lmHead: read('target_lm_head', dtype),
    prefill: () => states,
  };
  const states = {
    auxHiddenStates: read('aux_hidden_states', 'float32'),
    lastHiddenStates: read('last_hidden_states', 'float32'),
  };
  const weights = Object.fromEntries(
    Object.keys(eagle3Shapes(config)).map((name) => [name, read(`draft.${name}`, 'float32')]),
  );
  // SpecForge also counts rows whose target lies past the sequence: none of them is supervised then.
  const end = rules === 'specforge' ? shape.tokens - shape.steps - 2 : shape.tokens;
  lossShare = rules === 'specforge' ? (end - shape.tokens + shape.supervised) / shape.tokens : 1;
  samples = [
    {
      id: '0',
      inputIds: scope(() => toInts(file.load('input_ids'))),
      lossMask: Uint8Array.from({ length: shape.tokens }, (_, t) =>
        t >= shape.tokens - shape.supervised && t < end ? 1 : 0,
      ),
      positionIds: Float32Array.from({ length: shape.tokens }, (_, t) => t),
      axes: 1,
      positionDelta: 0,
      media: [],
      modality: 'text',
    },
  ];
  keep([target, states, weights]);
  const draft = new Eagle3Draft(config, weights, { compute: dtype, trained: true });
  trainer = new Eagle3Trainer(target, draft, new DraftVocabulary(draftIds(shape), shape.vocab), {
    steps: shape.steps,
    decay: 0.8,
    mask: rules === 'specforge' ? 'specforge' : 'serving',
    outOfVocabulary: 'mask',
    normalization: rules,
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
}

/** Waits for all that a GPU was asked for. */
function finish() {
  if (device !== 'cpu') scope(() => toFloats(ops.zeros([1], 'float32')));
}

function step({ lr }) {
  finish();
  const started = performance.now();
  const { loss, stepLoss, gradNorm } = trainer.step([samples], lr);
  finish();
  return {
    seconds: (performance.now() - started) / 1000,
    loss,
    step_loss: stepLoss.map((loss) => loss * lossShare),
    grad_norm: gradNorm,
  };
}

/**
 * What the step's products take one by one, on operands of their own that nothing has to be done to before: the best of a
 * few runs of each, of weights as they are and in panels.
 */
function ceiling() {
  const { mask } = trainer.options;
  const products = productsOfStep(config, samples, { steps, vocab, mask });
  const dtype = trainer.draft.parameters.options.compute;
  const flop = (list) => list.reduce((sum, { m, k, n, count }) => sum + 2 * m * k * n * count, 0);
  const timed = new Map();
  let seconds = 0;
  for (const { m, k, n, count } of products.compact) {
    const key = `${m}x${k}x${n}`;
    if (!timed.has(key))
      timed.set(
        key,
        scope(() => secondsOf(m, k, n, dtype)),
      );
    seconds += count * timed.get(key);
  }
  return { seconds, gflop: flop(products.compact) / 1e9, gflop_dense: flop(products.dense) / 1e9 };
}

function secondsOf(m, k, n, dtype) {
  const operand = (rows, columns) => {
    // The clock of a GPU depends on what it multiplies.
    if (device !== 'cpu') return cast(ops.randomNormal([rows, columns], 1, 1n), dtype);
    const values = ops.zeros([rows, columns], dtype);
    values.fill(0.5);
    return values;
  };
  const [a, b] = [operand(m, k), operand(n, k)];
  const out = ops.zeros([m, n], 'float32');
  const panels = ops.matmulPanels(b, true);
  // On a GPU many at a time, for asking takes longer than a small product.
  const calls = device === 'cpu' ? 1 : 20;
  const times = Array.from({ length: 6 }, (_, i) => {
    finish();
    const started = performance.now();
    for (let call = 0; call < calls; call++) {
      ops.matmul(a, b, { transposeB: true, out, ...(i % 2 && { panels }) });
    }
    finish();
    return (performance.now() - started) / 1000 / calls;
  });
  return Math.min(...times.slice(2));
}

/**
 * The attention of a step by itself: the supervised queries at the end, the prompt's keys, and keys of their own.
 * @returns seconds and GFLOP of forward and backward, and the rate in GFLOP/s of the largest product of the step
 */
function attention({ shape, dtype }) {
  return scope(() => {
    const { heads, kv_heads, tokens, supervised: n } = shape;
    const d = shape.hidden / heads;
    let seed = 1n;
    const random = (...size) => ops.randomNormal(size, 1, seed++);
    const [q, dout] = [random(n, heads, d), random(n, heads, d)];
    const [k, v] = [random(tokens, kv_heads, d), random(tokens, kv_heads, d)];
    const ids = (of) =>
      tensor(
        Int32Array.from({ length: n }, (_, i) => of(i)),
        [n],
      );
    const [begin, end] = [ids(() => 0), ids((i) => tokens - n + i + 1)];
    const extras = [0, 1, 2].map(() => ({
      k: random(n, kv_heads, d),
      v: random(n, kv_heads, d),
      rows: ids((i) => i),
    }));
    const options = { extras, dtype };
    const pairs = n * (tokens - (n - 1) / 2 + extras.length) * heads;
    const { out, lse } = ops.attention(q, k, v, begin, end, options);
    const best = (run) => {
      const times = Array.from({ length: 5 }, () => {
        finish();
        const started = performance.now();
        for (let i = 0; i < 10; i++) scope(run);
        finish();
        return (performance.now() - started) / 10_000;
      });
      return Math.min(...times);
    };
    const product = [n, shape.hidden, 2 * shape.intermediate];
    return {
      forward: {
        gflop: (4 * d * pairs) / 1e9,
        seconds: best(() => ops.attention(q, k, v, begin, end, options)),
      },
      backward: {
        gflop: (10 * d * pairs) / 1e9,
        seconds: best(() => ops.attentionBackward(dout, q, k, v, out, lse, begin, end, options)),
      },
      rate: (2 * product[0] * product[1] * product[2]) / secondsOf(...product, dtype) / 1e9,
    };
  });
}

/** Share of a step that is not spent in the addon: the median of five steps; and the calls of the fastest of them. */
function profile() {
  const runs = Array.from({ length: 5 }, () => secondsOutsideNative(() => trainer.step([samples], 1e-4)));
  const shares = runs.map(({ total, outside }) => outside / total).sort((a, b) => a - b);
  const fastest = runs.reduce((best, run) => (run.total < best.total ? run : best));
  return { outside_native_share: shares[2], ms: 1000 * fastest.total, calls: fastest.calls };
}

await serve({
  load,
  step,
  ceiling,
  attention,
  profile,
  info: () => ({ threads: native.info().threads, isa: native.info().isa }),
});
