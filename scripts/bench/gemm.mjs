#!/usr/bin/env node
// Rates of matmul by weights as [out, in], in float32 and bfloat16: products of training (oneDNN) and of decoding (the
// row kernel, whose time also counts the call from JavaScript).
//
//   node scripts/bench/gemm.mjs [--repeats 5] [--threads N]
//
// A rate is that of the fastest repeat; on a shared machine read the order of magnitude.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import nodeGypBuild from 'node-gyp-build';

const native = nodeGypBuild(fileURLToPath(new URL('../..', import.meta.url)));
const { values } = parseArgs({
  options: { repeats: { type: 'string', default: '5' }, threads: { type: 'string' } },
});
const repeats = Number(values.repeats);
if (values.threads !== undefined) native.setThreads(Number(values.threads));

const training = [
  [2048, 2048, 2048],
  [160, 2048, 1536],
  [160, 1024, 5632],
  [160, 2816, 1024],
  [160, 1024, 8000],
  [1024, 3072, 1024],
];
const decoding = [1, 4, 8, 16].flatMap((m) => [
  [m, 192, 384],
  [m, 1024, 1024],
  [m, 2048, 8192],
]);

function measure([m, k, n], dtype) {
  const a = native.randomNormal([m, k], 1, 1n);
  const wide = native.randomNormal([n, k], 1, 2n);
  const weights = wide.cast(dtype);
  const out = native.zeros([m, n], 'float32');
  const options = { transposeB: true, out };
  const run = () => native.matmul(a, weights, options);
  run(); // warm up: primitives, pages
  const calls = Math.max(1, Math.round(2e6 / (m * k * n)));
  let best = Infinity;
  for (let i = 0; i < repeats; i++) {
    const start = process.hrtime.bigint();
    for (let call = 0; call < calls; call++) run();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9 / calls);
  }
  for (const tensor of [a, wide, weights, out]) tensor.dispose();
  const rate = (2 * m * k * n) / best / 1e9;
  return `${(best * 1e6).toFixed(1).padStart(9)} µs ${rate.toFixed(0).padStart(5)} GFLOP/s`;
}

const { isa, onednn, threads } = native.info();
console.log(`oneDNN ${onednn}, ${isa}, ${threads} threads; M×K×N, float32, bfloat16`);
for (const size of [...training, ...decoding]) {
  console.log(`${size.join('×').padEnd(16)} ${measure(size, 'float32')} ${measure(size, 'bfloat16')}`);
}
