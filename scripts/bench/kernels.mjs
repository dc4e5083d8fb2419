#!/usr/bin/env node
// Rates of the fused kernels beside that of oneDNN's matrix product, measured in turn in the same run.
//
//   node scripts/bench/kernels.mjs [--repeats 7] [--threads N]
//
// Attention counts the products of visible keys only: 4·D a (query, key, head) forward and 10·D backward. A rate is
// that of the fastest repeat; on a shared machine read the ratios.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import nodeGypBuild from 'node-gyp-build';

const native = nodeGypBuild(fileURLToPath(new URL('../..', import.meta.url)));
const { values } = parseArgs({
  options: { repeats: { type: 'string', default: '7' }, threads: { type: 'string' } },
});
const repeats = Number(values.repeats);
if (values.threads !== undefined) native.setThreads(Number(values.threads));

/** Tensors in the value of a kernel, to be given back after each repeat. */
function release(value) {
  if (typeof value !== 'object' || value === null) return;
  if (typeof value.dispose === 'function') value.dispose();
  else for (const entry of Object.values(value)) release(entry);
}

function seconds(run) {
  const start = process.hrtime.bigint();
  const result = run();
  const elapsed = Number(process.hrtime.bigint() - start) / 1e9;
  release(result);
  return elapsed;
}

let seed = 0n;
const random = (...shape) => native.randomNormal(shape, 0.5, ++seed);
const ints = (count, valueOf) =>
  native.fromData(
    Int32Array.from({ length: count }, (_, i) => valueOf(i)),
    'int32',
    [count],
  );

/** Best times of kernels that take turns with a matrix product, so that both meet the same machine. */
function compare(title, kernels, product, unit = 'GFLOP/s') {
  const all = { 'oneDNN product': product, ...kernels };
  const best = Object.fromEntries(Object.keys(all).map((name) => [name, Infinity]));
  for (const { run } of Object.values(all)) release(run()); // warm up: primitives, pages
  for (let i = 0; i < repeats; i++) {
    for (const [name, { run }] of Object.entries(all)) best[name] = Math.min(best[name], seconds(run));
  }
  const rate = (name) => all[name].work / best[name] / 1e9;
  console.log(title);
  for (const [name, { unit: own = unit }] of Object.entries(all)) {
    const share = own === unit ? `  ${((100 * rate(name)) / rate('oneDNN product')).toFixed(0)}%` : '';
    console.log(
      `  ${name.padEnd(24)} ${(best[name] * 1e3).toFixed(3).padStart(9)} ms ${rate(name).toFixed(1).padStart(8)} ${own}${share}`,
    );
  }
}

/** x [m,k] · weight [n,k]ᵀ, as every linear layer multiplies. */
function product(m, k, n, dtype = 'float32') {
  const a = random(m, k).cast(dtype);
  const b = random(n, k).cast(dtype);
  return { work: 2 * m * k * n, run: () => native.matmul(a, b, { transposeB: true }) };
}

function attention(n, heads, kvHeads, d) {
  const q = random(n, heads, d);
  const [k, v, dout] = [random(n, kvHeads, d), random(n, kvHeads, d), random(n, heads, d)];
  const begin = ints(n, () => 0);
  const end = ints(n, (i) => i + 1);
  const { out, lse } = native.attention(q, k, v, begin, end);
  const pairs = (heads * n * (n + 1)) / 2;
  return {
    'attention forward': { work: 4 * d * pairs, run: () => native.attention(q, k, v, begin, end) },
    'attention backward': {
      work: 10 * d * pairs,
      run: () => native.attentionBackward(dout, q, k, v, out, lse, begin, end),
    },
  };
}

function decoding(queries, heads, kvHeads, d, keys) {
  const q = random(queries, heads, d);
  const [k, v] = [random(4096, kvHeads, d), random(4096, kvHeads, d)];
  const begin = ints(queries, () => 0);
  const end = ints(queries, (i) => keys + i);
  return {
    [`${queries} queries, ${keys} keys`]: {
      work: 4 * d * heads * queries * keys,
      run: () => native.attention(q, k, v, begin, end),
    },
  };
}

function loss(n, features, vocabulary, dtype) {
  const x = random(n, features);
  const weight = random(vocabulary, features).cast(dtype);
  const teacher = native.softmax(random(n, vocabulary));
  const rows = ints(n, (i) => i);
  const dweight = native.zeros([vocabulary, features], 'float32');
  return {
    linearSoftCrossEntropy: {
      work: 6 * n * features * vocabulary,
      run: () => native.linearSoftCrossEntropy(x, weight, teacher, rows, 1, dweight),
    },
    linearArgmax: { work: 2 * n * features * vocabulary, run: () => native.linearArgmax(x, weight) },
  };
}

function optimizer(size) {
  const [param, grad, m, v] = [
    random(size),
    random(size),
    native.zeros([size], 'float32'),
    native.zeros([size], 'float32'),
  ];
  const copy = native.zeros([size], 'bfloat16');
  const options = { lr: 1e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, step: 1, gradScale: 1 };
  return {
    // Reads four arrays, writes three and a copy of half the size.
    'adamW, bfloat16 copy': {
      work: size * (7 * 4 + 2),
      unit: 'GB/s',
      run: () => native.adamW([param], [grad], [m], [v], [copy], options),
    },
    gradNorm: { work: size * 4, unit: 'GB/s', run: () => native.gradNorm([grad]) },
  };
}

const { isa, threads, onednn } = native.info();
console.log(`${isa}, ${threads} threads, oneDNN ${onednn}, best of ${repeats}`);
const square = product(1024, 1024, 1024);
for (const d of [32, 64, 128]) {
  compare(`causal attention, 1024 rows, 16 heads, 4 key heads, D ${d}`, attention(1024, 16, 4, d), square);
}
compare('decoding, 6 heads, D 32', { ...decoding(1, 6, 6, 32, 300), ...decoding(6, 6, 6, 32, 300) }, square);
compare('decoding, 28 heads, 4 key heads, D 128', decoding(1, 28, 4, 128, 2000), square);
for (const dtype of ['float32', 'bfloat16']) {
  compare(
    `512 rows, 1024 features, vocabulary 8000, ${dtype} weights`,
    loss(512, 1024, 8000, dtype),
    product(512, 1024, 8000, dtype),
  );
}
compare('optimizer, 32 million parameters', optimizer(32 << 20), square);
