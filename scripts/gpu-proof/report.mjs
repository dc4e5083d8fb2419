// The proof's files: <date>-<device>.json and .md.

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { slug } from '../bench/harness/report.mjs';

const number = (value, digits = 2) =>
  value === undefined || value === null ? 'not measured' : value.toFixed(digits);
const percent = (value) => (value === undefined ? 'not measured' : `${(100 * value).toFixed(0)}%`);

/** What the numbers must reach on an H100, in bfloat16. */
function rows(report) {
  const { operations, tests, training, sanitizer } = report;
  return [
    [
      'operations against the CPU',
      operations && `${operations.failed.length} of ${operations.compared} differ`,
      '0',
    ],
    ['tests on the GPU', tests && `${tests.failed} failed, ${tests.passed} passed`, '0 failed'],
    [
      'embedded default, CPU and GPU',
      training &&
        `losses within ${training.float32.largest_difference.toExponential(1)} (float32), ` +
          `${training.bfloat16.largest_difference.toExponential(1)} (bfloat16); accept length ` +
          `${number(training.accept_length)}, lossless: ${training.lossless}`,
      'bfloat16 noise',
    ],
    ['TTT step, times faster than dense PyTorch', number(report.ttt_ratio), '5'],
    ["needed products' time of the step", percent(report.needed_share), '50%'],
    ['attention forward, of the rate of a product', percent(report.attention_forward_share), '50%'],
    ['attention backward', percent(report.attention_backward_share), '40%'],
    ['prefill, times faster than transformers', number(report.prefill_ratio), '1'],
    ["peak memory, of the peer's", percent(report.peak_memory_ratio), '33%'],
    [
      'compute-sanitizer',
      sanitizer &&
        Object.entries(sanitizer)
          .map(([tool, errors]) => `${tool}: ${errors} errors`)
          .join(', '),
      '0',
    ],
  ].map(([what, value, goal]) => [what, value ?? 'not measured', goal]);
}

/** Writes both files, whole or not at all. @returns the table, and where the files are */
export function writeProof(folder, report) {
  mkdirSync(folder, { recursive: true });
  const date = new Date().toISOString().slice(0, 10);
  const table = ['| what | measured | goal |', '| --- | --- | --- |'];
  for (const row of rows(report)) table.push(`| ${row.join(' | ')} |`);
  const failed = Object.entries(report.errors).map(([stage, error]) => `- ${stage}: ${error.split('\n')[0]}`);
  const text = [
    `# CUDA backend, ${date}`,
    '',
    `${report.device}. By \`scripts/gpu-proof.sh\`.${report.rehearsed ? ' A rehearsal without a GPU: no number counts.' : ''}`,
    '',
    ...table,
    ...(failed.length > 0 ? ['', 'Stages that did not end:', '', ...failed] : []),
    '',
  ].join('\n');
  const base = join(folder, `${date}-${slug(report.device)}`);
  const files = [
    [`${base}.json`, `${JSON.stringify(report, null, 2)}\n`],
    [`${base}.md`, text],
  ];
  for (const [path, content] of files) {
    writeFileSync(`${path}.partial`, content);
    renameSync(`${path}.partial`, path);
  }
  return { text, paths: files.map(([path]) => path) };
}
