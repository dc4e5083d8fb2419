// What a run says: a table, a JSON file, a Markdown file.

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const columns = [
  ['suite', (r) => r.suite],
  ['shape', (r) => r.shape],
  ['dtype', (r) => r.dtype],
  ['peer', (r) => r.peer],
  ['eyas ms', (r) => digits(r.eyas_ms)],
  ['peer ms', (r) => digits(r.peer_ms)],
  ['times faster', (r) => digits(r.ratio)],
  ['GFLOP needed', (r) => digits(r.gflop_needed)],
  ['of the ceiling', (r) => percent(r.ceiling_share)],
  ['eyas peak MB', (r) => digits(r.eyas_peak_mb)],
  ['peer peak MB', (r) => digits(r.peer_peak_mb)],
  ['losses differ by', (r) => r.max_loss_difference?.toExponential(1) ?? ''],
  ['runs', (r) => String(r.runs ?? '')],
  ['and', (r) => notes(r)],
];

const digits = (value) =>
  value === null || value === undefined ? '' : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
const percent = (value) => (value === null || value === undefined ? '' : `${Math.round(100 * value)}%`);

function notes(r) {
  const parts = [];
  if (r.outside_native_share !== undefined)
    parts.push(`${(100 * r.outside_native_share).toFixed(1)}% outside native code`);
  if (r.eyas_images_per_second) parts.push(`${digits(r.eyas_images_per_second)} images/s`);
  if (r.accept_length) parts.push(`accept length ${r.accept_length.toFixed(2)}`);
  if (r.hidden_difference) parts.push(`hidden states within ${r.hidden_difference.toExponential(1)}`);
  if (r.same_answers) parts.push(`same answers: ${r.same_answers}`);
  return parts.join(', ');
}

const heading = ({ device, threads, isa }) => `${device}, ${threads} threads, ${isa}`;

/** Aligned text. */
export function formatResults(report) {
  const rows = [columns.map(([name]) => name), ...report.results.map((r) => columns.map(([, of]) => of(r)))];
  const used = columns.map((_, c) => rows.slice(1).some((row) => row[c] !== ''));
  const widths = columns.map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, c) => (used[c] ? cell.padEnd(widths[c]) : undefined))
      .filter((cell) => cell !== undefined)
      .join('  ')
      .trimEnd(),
  );
  return [heading(report), ...lines].join('\n');
}

/** A Markdown page. */
export function markdown(title, report) {
  const used = columns.filter(([, of]) => report.results.some((r) => of(r) !== ''));
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [
    `# ${title}`,
    '',
    `${heading(report)}. Medians of alternating runs; peaks are resident memory of the processes, on a GPU what its tensors take.`,
    '',
    line(used.map(([name]) => name)),
    line(used.map(() => '---')),
    ...report.results.map((r) => line(used.map(([, of]) => of(r)))),
    '',
  ].join('\n');
}

/** NVIDIA H100 80GB HBM3 → h100 */
export const slug = (name) =>
  /\b[A-Z]+\d{2,3}\b/.exec(name)?.[0].toLowerCase() ?? name.toLowerCase().replace(/\W+/g, '-');

/** Writes `<date>-<device>-<suites>.json` and `.md`; whole files or none. */
export function writeResults(folder, suites, report, device = 'cpu') {
  mkdirSync(folder, { recursive: true });
  const date = new Date().toISOString().slice(0, 10);
  const name = `${date}-${device === 'cpu' ? 'cpu' : slug(report.device)}-${suites.join('+')}`;
  const files = [
    [`${name}.json`, `${JSON.stringify(report, null, 2)}\n`],
    [`${name}.md`, markdown(`${suites.join(', ')}, ${date}`, report)],
  ];
  return files.map(([file, text]) => {
    const path = join(folder, file);
    writeFileSync(`${path}.partial`, text);
    renameSync(`${path}.partial`, path);
    return path;
  });
}
