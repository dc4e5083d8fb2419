#!/usr/bin/env node
// Preprocessing and prefill of targets against transformers: same machine, weights, inputs and element type. Runs
// alternate; medians and ratios (how many times faster eyas is) are printed after the results have been compared.
//
//   node scripts/bench/target.mjs --python venv/bin/python [--families qwen2_5_vl,qwen3_vl_moe]
//     [--dtypes float32,bfloat16] [--repeat 7] [--json]

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readRecords } from '../../dist/data/records.js';
import { loadProcessor, loadTarget } from '../../dist/models/registry.js';
import { native } from '../../dist/native.js';
import { narrow, scope, toFloats } from '../../dist/tensor.js';

const { values } = parseArgs({
  options: {
    python: { type: 'string' },
    families: { type: 'string', default: 'qwen2_5_vl,qwen3_vl_moe' },
    dtypes: { type: 'string', default: 'float32,bfloat16' },
    repeat: { type: 'string', default: '7' },
    json: { type: 'boolean', default: false },
  },
});
if (!values.python) throw new Error('expected --python, an interpreter with torch and transformers 5.18');
const repeat = Number(values.repeat);

/** The Python process, one request at a time. */
class Peer {
  #child = spawn(values.python, [fileURLToPath(new URL('peer_target.py', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, OMP_NUM_THREADS: String(native.info().threads) },
  });
  #lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();

  async ask(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the peer stopped at ${JSON.stringify(request)}`);
    return JSON.parse(value);
  }

  stop() {
    this.#child.stdin.end();
  }
}

const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];

/** Medians in milliseconds of two actions that run in turn; the first run of each is not counted. */
async function alternate(ours, theirs) {
  const times = { eyas: [], peer: [] };
  for (let i = 0; i <= repeat; i++) {
    const start = performance.now();
    await ours();
    const spent = performance.now() - start;
    const { seconds } = await theirs();
    if (i > 0) (times.eyas.push(spent), times.peer.push(1000 * seconds));
  }
  return { eyas_ms: median(times.eyas), peer_ms: median(times.peer) };
}

function relativeError(actual, expected) {
  const largest = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, i) => Math.abs(value - actual[i]))) / largest;
}

async function measure(family, dtype, peer, folder) {
  const { tokens } = await peer.ask({ do: 'load', dtype, folder });
  const processor = loadProcessor(folder);
  const { records } = await readRecords([join(folder, 'record.jsonl')], { onBad: 'fail' });
  const pictures = records[0].messages[0].content.filter((part) => part.type === 'image');
  const sample = await processor.process(records[0]);
  if (sample.inputIds.length !== tokens) {
    throw new Error(`expected ${tokens} tokens, as the peer has, received ${sample.inputIds.length}`);
  }
  const target = loadTarget(folder, { dtype });
  const layers = target.info.numLayers;
  const auxLayerIds = [2, layers >> 1, layers - 3];
  const prefill = () => scope(() => target.prefill([sample], { auxLayerIds }));
  try {
    const last = scope(() => {
      const { lastHiddenStates } = target.prefill([sample], { auxLayerIds });
      return toFloats(narrow(lastHiddenStates, 0, tokens - 1, 1));
    });
    const difference = relativeError(last, (await peer.ask({ do: 'prefill' })).sample);
    const results = [];
    if (dtype === 'float32') {
      const pixels = () => Promise.all(pictures.map((part) => processor.load(part)));
      // The Pillow variant gives the same pixels; torchvision's is what transformers takes by default.
      for (const pil of [true, false]) {
        const times = await alternate(pixels, () => peer.ask({ do: 'preprocess', pil }));
        const suite = `preprocess, ${pil ? 'Pillow' : 'torchvision'}`;
        results.push({ suite, family, dtype, images: pictures.length, ...times });
      }
    }
    const times = await alternate(prefill, () => peer.ask({ do: 'prefill' }));
    results.push({ suite: 'prefill', family, dtype, tokens, difference, ...times });
    return results.map((result) => ({ ...result, ratio: result.peer_ms / result.eyas_ms }));
  } finally {
    target.dispose();
  }
}

const peer = new Peer();
const results = [];
for (const family of values.families.split(',')) {
  const folder = mkdtempSync(join(tmpdir(), 'eyas-bench-'));
  try {
    await peer.ask({ do: 'make', family, folder });
    for (const dtype of values.dtypes.split(','))
      results.push(...(await measure(family, dtype, peer, folder)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
peer.stop();
const { isa, threads } = native.info();
if (values.json) console.log(JSON.stringify({ isa, threads, results }, null, 2));
else {
  console.log(`${isa}, ${threads} threads`);
  for (const { suite, family, dtype, eyas_ms, peer_ms, ratio, images, tokens, difference } of results) {
    const size = images ? `${((1000 * images) / eyas_ms).toFixed(1)} images/s` : `${tokens} tokens`;
    const agreement = difference === undefined ? '' : `, results within ${difference.toExponential(1)}`;
    console.log(
      `${suite} ${family} ${dtype}: ${eyas_ms.toFixed(0)} ms against ${peer_ms.toFixed(0)} ms: ` +
        `${ratio.toFixed(2)} times (${size}${agreement})`,
    );
  }
}
