import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MetricsWriter } from '../../lib/training/metrics.js';

let dir: string;
let file: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'eyas-metrics-'));
  file = join(dir, 'run', 'metrics.jsonl');
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

function writeSteps(from: number, to: number, resumeStep?: number): void {
  const writer = new MetricsWriter(file, resumeStep);
  for (let step = from; step <= to; step++) {
    writer.write({ step, loss: 1 / step });
    if (step % 2 === 0) writer.write({ step, eval: { acceptLength: step } });
  }
  writer.sync();
  writer.close();
}

const lines = (): { step: number }[] =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { step: number });

describe('MetricsWriter', () => {
  it('writes one object a line, each visible at once', () => {
    const writer = new MetricsWriter(file);
    writer.write({ step: 1, loss: 0.5, accuracy: [0.25, 0.125], skipped: false });
    expect(readFileSync(file, 'utf8')).toBe(
      '{"step":1,"loss":0.5,"accuracy":[0.25,0.125],"skipped":false}\n',
    );
    writer.write({ step: 2, loss: Number.NaN, gradNorm: Number.POSITIVE_INFINITY });
    expect(lines()[1]).toEqual({ step: 2, loss: 'NaN', gradNorm: 'Infinity' });
    writer.close();
  });

  it('starts afresh without a step to go on from', () => {
    writeSteps(1, 3);
    writeSteps(1, 1);
    expect(lines()).toEqual([{ step: 1, loss: 1 }]);
  });

  it('has no step twice after a resume: equal to an uninterrupted file', () => {
    writeSteps(1, 9);
    const whole = readFileSync(file, 'utf8');
    for (const resumeStep of [4, 7, 9]) {
      writeSteps(resumeStep + 1, 9, resumeStep);
      expect(readFileSync(file, 'utf8')).toBe(whole);
    }
  });

  it('drops a line that a kill cut short', () => {
    writeSteps(1, 4);
    const whole = readFileSync(file, 'utf8');
    appendFileSync(file, '{"step":4,"lo');
    writeSteps(5, 4, 4);
    expect(readFileSync(file, 'utf8')).toBe(whole);
    appendFileSync(file, '{"step":4,"lo\n{"step":4}\n');
    writeSteps(5, 4, 4);
    expect(readFileSync(file, 'utf8')).toBe(whole);
  });
});
