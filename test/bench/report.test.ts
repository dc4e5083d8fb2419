import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bench, benchFile, type Report, type Result } from './helpers/modules.js';

const { formatResults, markdown, writeResults } = (await bench('harness', 'report.mjs')) as {
  formatResults: (report: Report) => string;
  markdown: (title: string, report: Report) => string;
  writeResults: (folder: string, suites: string[], report: Report, device?: 'cpu' | 'cuda') => string[];
};
const { chart } = (await bench('chart.mjs')) as { chart: (results: Result[], title: string) => string };

const result = (fields: Partial<Result>): Result => ({
  suite: 'ttt',
  shape: 'vlm',
  dtype: 'float32',
  eyas_ms: 602.4,
  peer_ms: 27_500,
  ratio: 45.65,
  gflop_needed: 189.4,
  ceiling_share: 0.784,
  eyas_peak_mb: 940.2,
  peer_peak_mb: 5120,
  max_loss_difference: 2.34e-6,
  peer: 'dense PyTorch',
  runs: 5,
  ...fields,
});
const prefill = result({
  suite: 'prefill',
  shape: 'qwen2_5_vl',
  eyas_ms: 8.125,
  ratio: 1.2,
  gflop_needed: null,
  ceiling_share: null,
  max_loss_difference: null,
  hidden_difference: 0.00012,
  peer: 'transformers',
});
const report: Report = {
  device: 'A processor, 4 cores',
  threads: 4,
  isa: 'avx2',
  results: [result({}), prefill],
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'eyas-report-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const cells = (line: string): string[] =>
  line
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim());

describe('tables', () => {
  it('as Markdown have a row for each result and a cell for each column', () => {
    const lines = markdown('ttt, prefill', report).split('\n');
    expect(lines[0]).toBe('# ttt, prefill');
    expect(lines.join('\n')).toContain('A processor, 4 cores, 4 threads, avx2');
    const table = lines.filter((line) => line.startsWith('|'));
    const [header, rule, first, second] = table.map(cells);
    expect(table).toHaveLength(4);
    expect(rule).toEqual(header!.map(() => '---'));
    const row = (values: string[]): Record<string, string> => {
      expect(values).toHaveLength(header!.length);
      return Object.fromEntries(header!.map((name, i) => [name, values[i]!]));
    };
    expect(row(first!)).toEqual({
      suite: 'ttt',
      shape: 'vlm',
      dtype: 'float32',
      peer: 'dense PyTorch',
      'eyas ms': '602',
      'peer ms': '27500',
      'times faster': '45.6',
      'GFLOP needed': '189',
      'of the ceiling': '78%',
      'eyas peak MB': '940',
      'peer peak MB': '5120',
      'losses differ by': '2.3e-6',
      runs: '5',
      and: '',
    });
    expect(row(second!)).toMatchObject({
      'eyas ms': '8.13',
      'times faster': '1.20',
      'GFLOP needed': '',
      'of the ceiling': '',
      'losses differ by': '',
      and: 'hidden states within 1.2e-4',
    });
  });

  it('have no columns that no result fills', () => {
    const only = { ...report, results: [prefill] };
    for (const text of [markdown('prefill', only), formatResults(only)]) {
      expect(text).toContain('times faster');
      expect(text).not.toContain('GFLOP needed');
      expect(text).not.toContain('losses differ by');
    }
  });

  it('as text are aligned', () => {
    const [heading, header, ...rows] = formatResults(report).split('\n');
    expect(heading).toBe('A processor, 4 cores, 4 threads, avx2');
    expect(rows).toHaveLength(2);
    const at = header!.indexOf('times faster');
    expect(rows[0]!.slice(at)).toMatch(/^45\.6 /);
    expect(rows[1]!.slice(at)).toMatch(/^1\.20 /);
  });

  it('are made of no results too', () => {
    expect(formatResults({ ...report, results: [] })).toContain('A processor');
    expect(markdown('none', { ...report, results: [] })).toContain('# none');
  });
});

describe('result files', () => {
  it('hold the report and its table under the date and the suites', () => {
    const paths = writeResults(join(folder, 'made', 'here'), ['ttt', 'prefill'], report);
    const date = new Date().toISOString().slice(0, 4);
    expect(paths.map((path) => path.slice(folder.length + 1))).toEqual([
      expect.stringMatching(new RegExp(`^made/here/${date}-\\d\\d-\\d\\d-cpu-ttt\\+prefill\\.json$`)),
      expect.stringMatching(/-cpu-ttt\+prefill\.md$/),
    ]);
    expect(JSON.parse(readFileSync(paths[0]!, 'utf8'))).toEqual(report);
    expect(readFileSync(paths[1]!, 'utf8')).toContain('| prefill | qwen2_5_vl |');
    expect(readdirSync(join(folder, 'made', 'here'))).toHaveLength(2);
  });

  it('of a GPU have its name', () => {
    const names = ['NVIDIA H100 80GB HBM3', 'NVIDIA A100-SXM4-80GB', 'NVIDIA GeForce RTX 4090'].map(
      (device) =>
        basename(writeResults(folder, ['ttt'], { ...report, device }, 'cuda')[0]!).slice(
          '2026-11-30-'.length,
        ),
    );
    expect(names).toEqual(['h100-ttt.json', 'a100-ttt.json', 'nvidia-geforce-rtx-4090-ttt.json']);
  });

  it('replace older ones at once: who reads the old file reads all of it', () => {
    const [path] = writeResults(folder, ['ttt'], report);
    const old = openSync(path!, 'r');
    try {
      expect(writeResults(folder, ['ttt'], { ...report, isa: 'avx512' })[0]).toBe(path);
      expect(JSON.parse(readFileSync(old, 'utf8'))).toEqual(report);
      expect(JSON.parse(readFileSync(path!, 'utf8'))).toMatchObject({ isa: 'avx512' });
    } finally {
      closeSync(old);
    }
    expect(readdirSync(folder)).toHaveLength(2);
  });

  it('are left alone when a report cannot be written', () => {
    const broken = { ...report, results: [result({ ratio: 'fast' as unknown as number })] };
    expect(() => writeResults(folder, ['ttt'], broken)).toThrow(TypeError);
    expect(readdirSync(folder)).toEqual([]);
  });
});

interface Element {
  name: string;
  attributes: Record<string, string>;
  text: string;
}

/** The elements of well-formed XML without comments; throws where it is not. */
function parseXml(xml: string): Element[] {
  const elements: Element[] = [];
  const open: Element[] = [];
  let closed = false;
  for (const [, tag, text] of xml.trim().matchAll(/<([^<>]*)>|([^<>]+|.)/g)) {
    if (text !== undefined) {
      if (/[<>]|&(?!amp;|lt;|gt;)/.test(text)) throw new Error(`unescaped: ${text}`);
      if (open.length === 0) throw new Error(`text outside: ${text}`);
      open.at(-1)!.text += text;
      continue;
    }
    const parts = /^(\/?)(\w+)((?:\s+[\w:-]+="[^"&]*")*)\s*(\/?)$/.exec(tag!);
    if (!parts || closed) throw new Error(`not a tag here: <${tag!}>`);
    const [, end, name, attributes, empty] = parts;
    if (end) {
      if (open.pop()?.name !== name) throw new Error(`</${name!}> closes nothing`);
    } else {
      const pairs = [...attributes!.matchAll(/([\w:-]+)="([^"]*)"/g)].map(([, key, value]) => [key!, value!]);
      if (new Set(pairs.map(([key]) => key)).size !== pairs.length) throw new Error(`twice: ${tag!}`);
      const element = {
        name: name!,
        attributes: Object.fromEntries(pairs) as Record<string, string>,
        text: '',
      };
      elements.push(element);
      if (!empty) open.push(element);
    }
    closed = open.length === 0;
  }
  if (!closed) throw new Error('not closed');
  return elements;
}

function barsOf(svg: string): { bars: { x: number; y: number; width: number }[]; texts: string[] } {
  const elements = parseXml(svg);
  expect(elements[0]).toMatchObject({
    name: 'svg',
    attributes: { xmlns: 'http://www.w3.org/2000/svg' },
  });
  const bars = elements
    .filter(({ name }) => name === 'rect')
    .map(({ attributes: { x, y, width } }) => ({ x: Number(x), y: Number(y), width: Number(width) }));
  const [, , right, bottom] = elements[0]!.attributes['viewBox']!.split(' ').map(Number);
  for (const { x, y, width } of bars) {
    expect(width).toBeGreaterThan(0);
    expect(x + width).toBeLessThan(right!);
    expect(y).toBeLessThan(bottom!);
  }
  return { bars, texts: elements.filter(({ name }) => name === 'text').map(({ text }) => text) };
}

describe('the chart', () => {
  it('has one bar for each result, the longer the faster', () => {
    const ratios = [3, 0.7, 60, 1.1, 8];
    const svg = chart(
      ratios.map((ratio, i) => result({ ratio, shape: `shape-${i}` })),
      'Times faster',
    );
    const { bars, texts } = barsOf(svg);
    expect(bars).toHaveLength(ratios.length);
    expect(new Set(bars.map(({ y }) => y)).size).toBe(ratios.length);
    const widths = bars.map(({ width }) => width);
    const order = [1, 3, 0, 4, 2];
    order.slice(1).forEach((longer, i) => {
      expect(widths[longer]).toBeGreaterThan(widths[order[i]!]!);
    });
    expect(texts).toContain('Times faster');
    for (const text of ['0.7×', '60.0×']) expect(texts).toContain(text);
  });

  it.each([[[]], [[1]], [[0.5, 0.9]], [[1, 1]], [[1.01]]])('can be drawn of the ratios %j', (ratios) => {
    expect(
      barsOf(
        chart(
          ratios.map((ratio) => result({ ratio })),
          '',
        ),
      ).bars,
    ).toHaveLength(ratios.length);
  });

  it('tells results apart that differ only in the peer', () => {
    const peers = ['transformers, Pillow', 'transformers, torchvision'];
    const { texts } = barsOf(
      chart(
        peers.map((peer) => result({ suite: 'preprocess', shape: '640x480', peer })),
        'title',
      ),
    );
    for (const peer of peers) expect(texts).toContain(`preprocess 640x480 float32, ${peer}`);
  });

  it('escapes names', () => {
    const { texts } = barsOf(chart([result({ shape: 'a<b & "c"' })], 'x < y & z'));
    expect(texts).toContain('x &lt; y &amp; z');
    expect(texts[1]).toContain('a&lt;b &amp; "c"');
  });

  it('is written by a command from files of results', () => {
    const files = [report, { ...report, results: [result({ suite: 'decode' })] }].map((each, i) => {
      const path = join(folder, `${i}.json`);
      writeFileSync(path, JSON.stringify(each));
      return path;
    });
    const { status, stdout } = spawnSync(process.execPath, [benchFile('chart.mjs'), ...files], {
      encoding: 'utf8',
    });
    expect(status).toBe(0);
    const { bars, texts } = barsOf(stdout);
    expect(bars).toHaveLength(3);
    expect(texts.some((text) => text.startsWith('decode vlm float32'))).toBe(true);
  });
});
