import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createProgress,
  describeMetrics,
  formatSeconds,
  type ProgressUpdate,
} from '../../lib/training/progress.js';

/** A stream that is a terminal or not, and what was written to it. */
function fakeStream(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const terminal = {
    isTTY,
    columns: 120,
    rows: 40,
    clearLine: () => true,
    cursorTo: () => true,
    moveCursor: () => true,
  };
  return { stream: Object.assign(stream, terminal) as unknown as NodeJS.WriteStream, text: () => text };
}

const update = (step: number): ProgressUpdate => ({
  step,
  totalSteps: 100,
  loss: 2.5,
  accuracy: [0.714, 0.5],
  tokensPerSecond: 811.6,
  etaSeconds: 65,
});

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('createProgress without a terminal', () => {
  it('writes a line at the start, at the end, and every five seconds between', () => {
    const { stream, text } = fakeStream(false);
    const progress = createProgress(stream);
    for (let step = 1; step <= 100; step++) {
      progress.step(update(step));
      vi.advanceTimersByTime(100);
    }
    progress.stop();
    expect(text().trimEnd().split('\n')).toEqual(
      [1, 51, 100].map((step) => `step ${step}/100  loss 2.500  acc 0.71 0.50  812 tok/s  eta 1:05`),
    );
  });

  it('starts every phase with a line', () => {
    const { stream, text } = fakeStream(false);
    const progress = createProgress(stream);
    progress.count('records', 1, 3);
    progress.count('records', 2, 3);
    progress.count('answers', 1, 2);
    progress.message('a line');
    expect(text()).toBe('records 1/3\nanswers 1/2\na line\n');
  });
});

describe('createProgress on a terminal', () => {
  it('draws a bar with loss, accuracy, speed and remaining time, and keeps lines above it', () => {
    const { stream, text } = fakeStream(true);
    const progress = createProgress(stream);
    progress.count('records', 3, 3);
    progress.step(update(50));
    progress.message('step 50  saved');
    progress.stop();
    expect(text()).toMatch(
      /train \[.*\] 50\/100 {2}loss 2\.500 {2}acc 0\.71 0\.50 {2}812 tok\/s {2}eta 1:05/,
    );
    expect(text()).toContain('step 50  saved\n');
  });
});

describe('formats', () => {
  it('of durations', () => {
    expect([0.4, 59, 65, 3600, 7210, Number.NaN].map(formatSeconds)).toEqual([
      '0 s',
      '59 s',
      '1:05',
      '1:00:00',
      '2:00:10',
      '?',
    ]);
  });

  it('of metrics', () => {
    const metrics = { acceptLength: 2.314, loss: 1.2, 'accuracy/0': 0.71, 'accuracy/1': 0.6, tokens: 9 };
    expect(describeMetrics(metrics)).toBe('accept length 2.31  loss 1.200  acc 0.71 0.60');
    expect(describeMetrics({ tokens: 9 })).toBe('');
  });
});
