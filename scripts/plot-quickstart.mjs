#!/usr/bin/env node
// Draws docs/quickstart.svg from the metrics of the last quickstart run.
//
//   node scripts/plot-quickstart.mjs [runs/quickstart/run/metrics.jsonl] [docs/quickstart.svg]

import { readFileSync, writeFileSync } from 'node:fs';

const [input = 'runs/quickstart/run/metrics.jsonl', output = 'docs/quickstart.svg'] = process.argv.slice(2);
const records = readFileSync(input, 'utf8').trim().split('\n').map(JSON.parse);
const training = records.filter((record) => record.loss !== undefined);
const evaluations = records.filter((record) => record.eval);
const steps = Math.max(...records.map(({ step }) => step));

const size = { width: 880, height: 300, top: 46, bottom: 40, panel: 350 };
const ink = '#334155';

/** One panel: axes, grid and lines. `series`: [label, colour, [[x, y] …]]. */
function panel(left, title, maxY, ticks, series) {
  const x = (step) => left + (step / steps) * size.panel;
  const y = (value) => size.height - size.bottom - (value / maxY) * (size.height - size.top - size.bottom);
  const grid = ticks.map(
    (tick) =>
      `<line x1="${left}" x2="${left + size.panel}" y1="${y(tick)}" y2="${y(tick)}" stroke="#e2e8f0"/>` +
      `<text x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`,
  );
  const stepTicks = [0, Math.round(steps / 2), steps].map(
    (step) =>
      `<text x="${x(step)}" y="${size.height - size.bottom + 18}" text-anchor="middle">${step}</text>`,
  );
  const lines = series.map(([label, colour, points], i) => {
    const path = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
    return (
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>` +
      (label &&
        `<text x="${left + size.panel - 6}" y="${y(0) - 12 - 16 * i}" text-anchor="end" fill="${colour}">${label}</text>`)
    );
  });
  return [
    `<text x="${left}" y="24" font-size="14" font-weight="600">${title}</text>`,
    ...grid,
    ...stepTicks,
    `<text x="${left + size.panel / 2}" y="${size.height - 4}" text-anchor="middle">optimizer step</text>`,
    ...lines,
  ].join('\n');
}

const depth = training[0] ? Object.keys(training[0]).filter((key) => key.startsWith('accuracy/')).length : 0;
const shown = [0, Math.floor(depth / 2), depth - 1];
const colours = ['#2563eb', '#0d9488', '#d97706'];
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="system-ui, sans-serif" font-size="12" fill="${ink}">
<rect width="100%" height="100%" fill="white"/>
${panel(
  50,
  'Accept length, held-out records (simulated)',
  depth + 1,
  [1, 2, 3, 4, 5, 6, 7, 8].filter((t) => t <= depth + 1),
  [['', '#2563eb', evaluations.map((record) => [record.step, record.eval.acceptLength])]],
)}
${panel(
  480,
  'Accuracy by step of the draft, held-out records',
  1,
  [0, 0.25, 0.5, 0.75, 1],
  shown.map((s, i) => [
    `step ${s + 1} of ${depth}`,
    colours[i],
    evaluations.map((record) => [record.step, record.eval[`accuracy/${s}`]]),
  ]),
)}
</svg>
`;
writeFileSync(output, svg);
