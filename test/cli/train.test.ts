import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { train } from '../../lib/api.js';
import type { JobEvent } from '../../lib/worker/jobs.js';
import { commandFile, eyas } from '../helpers/command.js';
import { buildDist, root } from '../helpers/dist.js';

const dir = mkdtempSync(join(tmpdir(), 'eyas-train-'));
const data = join(dir, 'data.jsonl');
const model = join(root, 'models', 'tiny-qwen2.5-vl');
const steps = 24;

beforeAll(() => {
  buildDist();
  const colours = ['red', 'green', 'blue', 'yellow', 'purple', 'orange'];
  const records = Array.from({ length: 18 }, (_, i) => {
    const [first, second] = [colours[i % 6]!, colours[(i + 1 + (i % 4)) % 6]!];
    const answer = `A ${first} circle is left of a ${second} square. `.repeat(2 + (i % 3));
    return {
      messages: [
        { role: 'user', content: `Scene ${i}?` },
        { role: 'assistant', content: answer },
      ],
    };
  });
  writeFileSync(data, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
});
afterAll(() => {
  rmSync(dir, { recursive: true });
});

const settings = {
  'draft.vocabSize': 256,
  'data.evalCount': 3,
  'training.maxSteps': steps,
  'training.batchTokens': 192,
  'training.gradientAccumulation': 2,
  'training.evalEvery': 6,
  'training.saveEvery': 2,
};

function args(output: string): string[] {
  const overrides = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  return ['train', ...overrides, '--model', model, '--data', data, '--output', output];
}

/** Starts a run and sends it a signal some time after its first checkpoint; its exit code or the signal. */
async function interrupt(output: string, signal: NodeJS.Signals, delay: number): Promise<unknown> {
  const child = spawn(process.execPath, [commandFile, ...args(output)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exit = once(child, 'exit');
  let text = '';
  const saved = new Promise<void>((resolve) => {
    child.stderr.on('data', (chunk: Buffer) => {
      text += String(chunk);
      if (text.includes('saved')) resolve();
    });
  });
  await Promise.race([saved, exit]);
  await sleep(delay);
  child.kill(signal);
  const [code, killedBy] = (await exit) as [number | null, NodeJS.Signals | null];
  return code ?? killedBy;
}

const checkpoints = (output: string): string[] =>
  readdirSync(join(output, 'checkpoints')).filter((name) => name.startsWith('step-'));

/** Everything that a run leaves and that does not tell the time. */
function results(output: string): Record<string, unknown> {
  const last = join(output, 'checkpoints', `step-${String(steps).padStart(6, '0')}`);
  const digest = (file: string): string =>
    createHash('sha256')
      .update(readFileSync(join(last, file)))
      .digest('hex');
  return {
    metrics: readFileSync(join(output, 'metrics.jsonl'), 'utf8').split('\n'),
    weights: digest('model.safetensors'),
    moments: digest('optimizer.safetensors'),
  };
}

describe('eyas train', () => {
  const whole = join(dir, 'whole');
  beforeAll(() => {
    const { code, stdout, stderr } = eyas(args(whole));
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(new RegExp(`^steps +${steps}$`, 'm'));
  });

  it('ends at the same weights, moments and metrics after kills at random moments', async () => {
    const output = join(dir, 'killed');
    let kills = 0;
    for (; kills < 4; kills++) {
      const ended = await interrupt(output, 'SIGKILL', Math.random() * 150);
      if (ended !== 'SIGKILL') break;
    }
    expect(kills).toBeGreaterThan(0);
    const { code, stderr } = eyas(args(output));
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('resumed from');
    expect(results(output)).toEqual(results(whole));
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('saves and ends on %s, and goes on from there', async (signal, code) => {
    const output = join(dir, signal);
    expect(await interrupt(output, signal, 0)).toBe(code);
    expect(checkpoints(output).length).toBeGreaterThan(0);
    expect(readdirSync(join(output, 'checkpoints')).filter((name) => name.startsWith('.tmp-'))).toEqual([]);
    expect(eyas(args(output)).code).toBe(0);
    expect(results(output)).toEqual(results(whole));
  });

  it('refuses to go on with another config', () => {
    const { code, stderr } = eyas([...args(whole), '--set', 'ttt.steps=3']);
    expect(code).toBe(1);
    expect(stderr).toContain('\n  ttt.steps: 7 then, 3 now\n');
  });
});

describe('train()', () => {
  const config = {
    model,
    data: { train: data },
    draft: { vocabSize: 256 },
    training: { maxSteps: 6, batchTokens: 192 },
  };

  it('leaves the event loop of the caller free and tells what happens', async () => {
    const events: JobEvent[] = [];
    let ticks = 0;
    const timer = setInterval(() => ticks++, 10);
    const started = performance.now();
    const onEvent = (event: JobEvent): void => void events.push(event);
    const result = await train({ ...config, output: join(dir, 'api') }, { onEvent });
    clearInterval(timer);
    // A run on this thread would let the timer in between steps at most; the margin is for a busy machine.
    expect(ticks).toBeGreaterThan((0.25 * (performance.now() - started)) / 10);
    expect(result).toMatchObject({ steps: 6, stopped: false });
    expect(existsSync(result.latestCheckpoint)).toBe(true);
    expect(events.flatMap((event) => (event.type === 'step' ? [event.step] : []))).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
    expect(events.at(-1)).toMatchObject({ type: 'checkpoint', step: 6, path: result.latestCheckpoint });
  });

  it('stops with a checkpoint when its signal is aborted', async () => {
    const controller = new AbortController();
    const onEvent = (event: JobEvent): void => {
      if (event.type === 'step') controller.abort();
    };
    const output = join(dir, 'aborted');
    const result = await train({ ...config, output }, { onEvent, signal: controller.signal });
    expect(result.stopped).toBe(true);
    expect(result.steps).toBeLessThan(6);
    expect(existsSync(join(result.latestCheckpoint, 'manifest.json'))).toBe(true);
  });

  it('refuses a wrong config before anything runs', async () => {
    await expect(train({ ...config, output: dir, ttt: { steps: 0 } })).rejects.toMatchObject({
      name: 'ConfigError',
      message: 'ttt.steps: expected at least 1, received 0',
    });
  });
});
