#!/usr/bin/env node
// eyas against its peers on this machine: npm run bench -- <suite>. Both sides are processes of their own, with the same
// weights, inputs and threads; results are compared before anything is timed, and runs alternate.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { native } from '../../dist/native.js';
import { choose } from './harness/options.mjs';
import { findPython } from './harness/python.mjs';
import { describeDevice, makeSides } from './harness/sides.mjs';
import { formatResults, writeResults } from './harness/report.mjs';

const suites = ['ttt', 'prefill', 'preprocess', 'decode', 'end-to-end'];
const usage = `npm run bench -- <suite> [options]

suites: ${suites.join(', ')}, or all
  --json             print one JSON object and nothing else
  --python PYTHON    interpreter with torch, transformers, safetensors and pillow; absent: one is made
  --specforge DIR    ttt: against the classes of this checkout of SpecForge
  --compiled         ttt: the dense peer through torch.compile
  --shapes A,B       of the suite; all of its own if absent
  --dtypes A,B       float32,bfloat16
  --repeat N         runs of each side that are counted, where time allows (5)
  --device DEVICE    of both sides: cpu, or cuda, for ttt and prefill (cpu)
  --out DIR          where the results go (benchmarks/results); none: nowhere`;

const say = (text) => process.stderr.write(`${text}\n`);

function parse() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      python: { type: 'string' },
      specforge: { type: 'string' },
      compiled: { type: 'boolean', default: false },
      shapes: { type: 'string' },
      dtypes: { type: 'string' },
      repeat: { type: 'string', default: '5' },
      device: { type: 'string', default: 'cpu' },
      out: { type: 'string', default: fileURLToPath(new URL('../../benchmarks/results', import.meta.url)) },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    process.exit();
  }
  if (positionals.length !== 1)
    throw new Error(`expected one suite, received ${positionals.length}\n\n${usage}`);
  const repeat = Number(values.repeat);
  if (!Number.isInteger(repeat) || repeat < 1) {
    throw new Error(`--repeat: expected a whole number from 1 on, received ${values.repeat}`);
  }
  choose('--device', values.device, ['cpu', 'cuda']);
  const [suite] = positionals;
  if (values.device === 'cuda') choose('--device cuda', suite, ['ttt', 'prefill']);
  if (suite === 'all') return { ...values, repeat, suites, chosen: ['all'] };
  const chosen = choose('suite', suite, suites);
  return { ...values, repeat, suites: chosen, chosen };
}

async function main() {
  const options = parse();
  const dtypes = choose(
    '--dtypes',
    options.dtypes ??
      (options.device === 'cuda' || native.info().bfloat16Gemm ? 'float32,bfloat16' : 'float32'),
    ['float32', 'bfloat16'],
  );
  const plans = [];
  for (const name of options.suites) {
    const suite = await import(`./suites/${name}.mjs`);
    const names =
      options.shapes === undefined
        ? suite.defaultShapes
        : choose(`--shapes of ${name}`, options.shapes, Object.keys(suite.shapes));
    plans.push({ suite, names });
  }
  const device = describeDevice(options.device);
  const python = await findPython(options.python, say);
  const { threads, isa } = native.info();
  const sides = makeSides(python, options.device, say);
  const results = [];
  // What was measured before a suite failed, the peer out of memory perhaps, is not lost.
  let failure;
  try {
    for (const { suite, names } of plans) {
      const { repeat, specforge, compiled } = options;
      for await (const result of suite.run({ names, dtypes, repeat, specforge, compiled }, sides)) {
        results.push(result);
        say(
          `  ${result.eyas_ms.toFixed(1)} ms against ${result.peer_ms.toFixed(1)}: ${result.ratio.toFixed(2)} times`,
        );
      }
    }
  } catch (error) {
    if (results.length === 0) throw error;
    failure = error;
  }
  const report = { device, threads, isa, results };
  const written =
    options.out === 'none' ? [] : writeResults(options.out, options.chosen, report, options.device);
  if (options.json) console.log(JSON.stringify(report, null, 2));
  else console.log(formatResults(report));
  for (const path of written) say(path);
  if (failure) throw failure;
}

try {
  await main();
} catch (error) {
  const defect = error instanceof TypeError && !error.code?.startsWith('ERR_PARSE_ARGS');
  say(defect ? error.stack : `bench: ${error.message}`);
  process.exit(1);
}
