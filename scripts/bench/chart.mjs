#!/usr/bin/env node
// Bars of how many times faster eyas is, from a results file: node scripts/bench/chart.mjs RESULTS.json… > chart.svg

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const bar = 18;
const gap = 8;
const left = 370;
const width = 840;

const escape = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** An SVG of results in the order given. */
export function chart(results, title) {
  // Of a little more than 1 no full bar is made, and of 1 no division by zero.
  const most = Math.max(2, ...results.map(({ ratio }) => ratio));
  // Logarithmic: one bar of 60 should not hide another of 2.
  const length = (ratio) => (Math.log2(Math.max(ratio, 1)) / Math.log2(most)) * (width - left - 70);
  const rows = results.map(({ suite, shape, dtype, peer, ratio }, i) => {
    const y = 40 + i * (bar + gap);
    const label = `${suite} ${shape} ${dtype}, ${peer}`;
    return (
      `<text class="label" x="${left - 8}" y="${y + 13}" text-anchor="end">${escape(label)}</text>` +
      `<rect class="bar ${dtype}" x="${left}" y="${y}" width="${Math.max(2, length(ratio)).toFixed(1)}" height="${bar}" rx="2"/>` +
      `<text class="label" x="${(left + length(ratio) + 8).toFixed(1)}" y="${y + 13}">${ratio.toFixed(1)}×</text>`
    );
  });
  const height = 50 + results.length * (bar + gap);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<style>.label{fill:#24292f}.bar{fill:#2f6f9f}.bfloat16{fill:#c9772b}@media(prefers-color-scheme:dark){.label{fill:#d0d7de}}</style>
<text class="label" x="8" y="20" font-size="14">${escape(title)}</text>
${rows.join('\n')}
</svg>
`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const results = process.argv.slice(2).flatMap((path) => JSON.parse(readFileSync(path, 'utf8')).results);
  process.stdout.write(chart(results, 'Times faster than the peer (logarithmic)'));
}
