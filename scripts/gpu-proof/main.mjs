#!/usr/bin/env node
// Proves the CUDA backend and measures it; scripts/gpu-proof.sh prepares the machine and runs it. Every stage is a process
// of its own, and the report is written again after each: what a later one breaks or has no time for takes nothing away.
//
//   main.mjs [--python PYTHON] [--out DIR] [--minutes 9] [--stages a,b] [--rehearse]

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { choose } from '../bench/harness/options.mjs';
import { describeDevice, makeSides } from '../bench/harness/sides.mjs';
import { shapes } from '../bench/suites/ttt.mjs';
import { writeProof } from './report.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const usage = `scripts/gpu-proof.sh [BUNDLE] [options]

  --python PYTHON   with torch and transformers (python3)
  --out DIR         where the report goes (benchmarks/results)
  --minutes N       after which no stage is begun, and the one that runs is ended (9)
  --stages A,B      operations, tests, training, attention, ttt, prefill, compiled, sanitizer; all if absent
  --rehearse        without a GPU: kernels compiled for the CPU, small sizes, the peer on the CPU`;

function fail(message) {
  process.stderr.write(`gpu-proof: ${message}\n`);
  process.exit(1);
}

function attempt(body) {
  try {
    return body();
  } catch (error) {
    return fail(error.message);
  }
}

const options = {
  python: { type: 'string', default: 'python3' },
  out: { type: 'string', default: join(root, 'benchmarks', 'results') },
  minutes: { type: 'string', default: '9' },
  stages: { type: 'string' },
  rehearse: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};
const { values } = attempt(() => parseArgs({ options }));
if (values.help) {
  console.log(usage);
  process.exit();
}
const minutes = Number(values.minutes);
if (!(minutes > 0)) fail(`--minutes: expected a number above 0, received ${values.minutes}`);
const { rehearse } = values;
if (rehearse) {
  const emulated = join(root, 'build', 'emulated');
  process.env.EYAS_CUDA_BACKEND = join(emulated, 'libeyas_cuda.so');
  process.env.EYAS_CUDA_LIBRARY_PATH = emulated;
  process.env.EYAS_BENCH_PEER_DEVICE = 'cpu';
} else {
  process.env.EYAS_TEST_GPU = '1';
}
const end = performance.now() + minutes * 60_000;
const say = (text) => process.stderr.write(`${text}\n`);

/** Output of a process, which is ended when there is no time left; an exit code other than 0 is not an error here. */
function run(command, args, environment = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    // With all that it has started.
    const kill = () => process.kill(-child.pid, 'SIGKILL');
    process.once('exit', kill);
    const late = setTimeout(
      () => {
        kill();
        reject(new Error(`${command} ${args[0]}: no time was left`));
      },
      Math.max(0, end - performance.now()),
    );
    let output = '';
    child.stdout.on('data', (data) => (output += data));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(late);
      process.removeListener('exit', kill);
      resolve({ output, code: code ?? signal });
    });
  });
}

const script = (...path) => join(root, 'scripts', ...path);

/** The JSON object that a script of ours prints last. */
async function json(args, environment) {
  const { output, code } = await run(process.execPath, args, environment);
  const from = output.lastIndexOf('\n{', output.length - 2) + 1;
  try {
    return JSON.parse(output.slice(output.startsWith('{') && from === 0 ? 0 : from));
  } catch {
    throw new Error(
      `${args[0]}: expected JSON, received ${JSON.stringify(output.slice(-500))} (exit ${code})`,
    );
  }
}

const bench = async (suite, shape, ...more) => {
  const { output, code } = await run(process.execPath, [
    ...[script('bench', 'main.mjs'), suite, '--device', 'cuda', '--shapes', shape, '--dtypes', 'bfloat16'],
    ...['--python', values.python, '--out', 'none', '--json', '--repeat', rehearse ? '1' : '5', ...more],
  ]);
  if (code !== 0) throw new Error(`bench ${suite} ${shape}: exit ${code}`);
  return JSON.parse(output).results;
};

const tttShape = rehearse ? 'tiny' : '7b';

/** What each stage adds to the report. */
const stages = {
  async operations() {
    return { operations: await json([script('gpu-proof', 'operations.mjs'), rehearse ? 'small' : 'full']) };
  },

  async tests() {
    const folder = mkdtempSync(join(tmpdir(), 'eyas-proof-'));
    try {
      const file = join(folder, 'tests.json');
      const only = rehearse ? ['test/draft/ttt.test.ts'] : [];
      await run(process.execPath, [
        ...[join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--project', 'cuda', ...only],
        ...['--reporter', 'json', '--outputFile', file],
      ]);
      if (!existsSync(file)) throw new Error('vitest left no report');
      const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(file, 'utf8'));
      const failed = testResults.flatMap(({ name, status, message, assertionResults }) => [
        ...(status === 'failed' && assertionResults.length === 0
          ? [`${name}: ${message.slice(0, 300)}`]
          : []),
        ...assertionResults
          .filter((test) => test.status === 'failed')
          .map((test) => `${test.fullName}: ${test.failureMessages[0]?.slice(0, 300)}`),
      ]);
      return {
        tests: { passed: numPassedTests, failed: Math.max(numFailedTests, failed.length), failures: failed },
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },

  async training() {
    return { training: await json([script('gpu-proof', 'training.mjs'), rehearse ? 'small' : 'full']) };
  },

  async attention() {
    const child = makeSides(values.python, 'cuda', say).eyas('ttt');
    try {
      const { forward, backward, rate } = await child.ask({
        do: 'attention',
        shape: shapes[tttShape],
        dtype: 'bfloat16',
      });
      const share = ({ gflop, seconds }) => gflop / seconds / rate;
      return {
        attention: { forward, backward, product_gflops: rate },
        attention_forward_share: share(forward),
        attention_backward_share: share(backward),
      };
    } finally {
      await child.stop();
    }
  },

  async ttt(report) {
    const [result] = await bench('ttt', tttShape);
    return {
      results: [...(report.results ?? []), result],
      ttt_ratio: result.ratio,
      needed_share: result.ceiling_share,
      peak_memory_ratio: result.eyas_peak_mb / result.peer_peak_mb,
    };
  },

  async prefill(report) {
    const [result] = await bench('prefill', rehearse ? 'tiny' : '7b');
    return { results: [...(report.results ?? []), result], prefill_ratio: result.ratio };
  },

  /** The faster of the two peers is the one that counts. */
  async compiled(report) {
    const [result] = await bench('ttt', tttShape, '--compiled');
    const faster = report.ttt_ratio === undefined || result.ratio < report.ttt_ratio;
    return {
      results: [...(report.results ?? []), result],
      ttt_ratio: faster ? result.ratio : report.ttt_ratio,
      peak_memory_ratio: faster ? result.eyas_peak_mb / result.peer_peak_mb : report.peak_memory_ratio,
    };
  },

  async sanitizer() {
    const tools = {};
    for (const tool of ['memcheck', 'racecheck']) {
      const { output, code } = await run('compute-sanitizer', [
        ...['--tool', tool, '--error-exitcode', '9', process.execPath],
        ...[script('gpu-proof', 'operations.mjs'), 'small'],
      ]);
      const [, errors] = /(?:ERROR|RACECHECK) SUMMARY: (\d+)/.exec(output) ?? [];
      if (errors === undefined)
        throw new Error(`compute-sanitizer ${tool}: exit ${code}: ${output.slice(-500)}`);
      tools[tool] = Number(errors);
      if (tools[tool] > 0) say(output.slice(0, 4000));
    }
    return { sanitizer: tools, sanitizer_errors: tools.memcheck + tools.racecheck };
  },
};

const names = Object.keys(stages).filter((name) => !rehearse || name !== 'sanitizer');
const chosen = attempt(() =>
  values.stages === undefined ? names : choose('--stages', values.stages, Object.keys(stages)),
);
const report = {
  device: attempt(() => describeDevice('cuda')),
  rehearsed: rehearse || undefined,
  errors: {},
};
for (const name of chosen) {
  const started = performance.now();
  say(`== ${name}`);
  try {
    if (performance.now() > end) throw new Error('no time was left');
    Object.assign(report, await stages[name](report));
  } catch (error) {
    report.errors[name] = error.message;
    say(error.message);
  }
  say(`   ${((performance.now() - started) / 1000).toFixed(0)} s`);
  const { operations, tests, training } = report;
  report.parity_failures =
    (operations?.failed.length ?? 0) + (tests?.failed ?? 0) + (training === undefined || training.ok ? 0 : 1);
  writeProof(values.out, report);
}
const { text, paths } = writeProof(values.out, report);
console.log(text);
for (const path of paths) say(path);
const proven =
  Object.keys(report.errors).length === 0 && report.parity_failures === 0 && !report.sanitizer_errors;
process.exitCode = proven ? 0 : 1;
