import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdtempSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { native } from '../../lib/native.js';
import { dispose, scope, tensor, toFloats } from '../../lib/tensor.js';
import {
  assertResumable,
  checkpointName,
  cleanCheckpoints,
  findBest,
  findLatest,
  loadCheckpoint,
  saveCheckpoint,
  type SaveOptions,
  type TrainingState,
} from '../../lib/training/checkpoint.js';
import { parseConfig } from '../../lib/training/config.js';
import { buildDist } from '../helpers/dist.js';

const base = mkdtempSync(join(tmpdir(), 'eyas-checkpoint-'));
let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(base, 'run-')), 'checkpoints');
});
afterAll(() => {
  rmSync(base, { recursive: true });
});

const config = parseConfig({ model: 'm', output: 'o', data: { train: 'a.jsonl' } });

function stateAt(step: number): TrainingState {
  return {
    step,
    totalSteps: 100,
    updates: step,
    nonFiniteInARow: 0,
    counts: { tokens: 10 * step },
    config,
    dataFingerprint: 'data',
    version: '0.0.0',
  };
}

function save(step: number, options: SaveOptions = { keep: 2 }, value = step): string {
  return scope(() =>
    saveCheckpoint(
      dir,
      {
        tensors: { 'fc.weight': tensor(Float32Array.of(value, 1, 2, 3, 4, 5), [2, 3]) },
        optimizer: { 'fc.weight.m': tensor(Float32Array.of(-value), [1]) },
        state: stateAt(step),
      },
      options,
    ),
  );
}

function load(path: string): { weight: number[]; moment: number[]; state: TrainingState } {
  const { tensors, optimizer, state } = loadCheckpoint(path);
  const result = {
    weight: [...toFloats(tensors['fc.weight']!)],
    moment: [...toFloats(optimizer['fc.weight.m']!)],
    state,
  };
  dispose([tensors, optimizer]);
  return result;
}

const warnings: string[] = [];
const warn = (message: string): void => void warnings.push(message);
const steps = (): string[] => readdirSync(dir).filter((name) => name.startsWith('step-'));

describe('saveCheckpoint', () => {
  it('gives back weights, moments and state, and leaves no tensor behind', () => {
    const before = native.memory().liveTensors;
    const path = save(12);
    expect(basename(path)).toBe('step-000012');
    expect(load(path)).toEqual({ weight: [12, 1, 2, 3, 4, 5], moment: [-12], state: stateAt(12) });
    expect(native.memory().liveTensors).toBe(before);
  });

  it('keeps the newest and the best', () => {
    save(1);
    save(2, { keep: 2, best: true });
    for (const step of [3, 4, 5]) save(step);
    expect(steps()).toEqual(['step-000002', 'step-000004', 'step-000005']);
    expect(findBest(dir)).toBe(join(dir, 'step-000002'));
    expect(readFileSync(join(dir, 'latest'), 'utf8')).toBe('step-000005\n');
    save(6, { keep: 1, best: true });
    expect(steps()).toEqual(['step-000006']);
  });

  it('replaces a checkpoint of the same step', () => {
    save(3, { keep: 1 }, 30);
    const path = save(3, { keep: 1 }, 31);
    expect(load(path).weight[0]).toBe(31);
    expect(readdirSync(dir).sort()).toEqual(['latest', 'step-000003']);
  });

  it('never removes the newest written, even after steps of an abandoned run', () => {
    for (const step of [10, 11]) save(step);
    save(5);
    expect(steps()).toContain('step-000005');
    expect(findLatest(dir, warn)).toBe(join(dir, 'step-000005'));
  });
});

describe('findLatest', () => {
  beforeEach(() => {
    warnings.length = 0;
  });

  it('finds nothing where nothing was saved', () => {
    expect(findLatest(dir, warn)).toBeUndefined();
    expect(findBest(dir)).toBeUndefined();
    mkdirSync(dir);
    expect(findLatest(dir, warn)).toBeUndefined();
  });

  it.each([
    [
      'model.safetensors',
      'cut short',
      (file: string) => {
        truncateSync(file, 20);
      },
      'received 20',
    ],
    ['optimizer.safetensors', 'changed', flipByte, 'expected sha256'],
    [
      'state.json',
      'missing',
      (file: string) => {
        rmSync(file);
      },
      'state.json is missing',
    ],
    [
      'manifest.json',
      'not JSON',
      (file: string) => {
        writeFileSync(file, '{');
      },
      'manifest.json: ',
    ],
    [
      'manifest.json',
      'incomplete',
      (file: string) => {
        writeFileSync(file, '{"files":{}}');
      },
      'does not list',
    ],
  ])('passes over a checkpoint whose %s is %s', (name, _what, damage, message) => {
    const whole = save(1);
    const damaged = save(2);
    damage(join(damaged, name));
    expect(() => loadCheckpoint(damaged)).toThrow(message);
    expect(findLatest(dir, warn)).toBe(whole);
    expect(warnings).toEqual([expect.stringContaining(damaged) as string]);
    expect(warnings[0]).toContain(message);
  });

  it('refuses to start afresh over checkpoints that are all damaged', () => {
    rmSync(join(save(1), 'state.json'));
    expect(() => findLatest(dir, warn)).toThrow('no checkpoint is whole');
  });

  it('finds what a kill between renaming and pointing has left', () => {
    save(1);
    const path = save(2);
    writeFileSync(join(dir, 'latest'), 'step-000009\n');
    expect(findLatest(dir, warn)).toBe(path);
    // Killed while step 2 was being replaced.
    cpSync(path, `${path}.replaced`, { recursive: true });
    rmSync(path, { recursive: true });
    expect(findLatest(dir, warn)).toBe(`${path}.replaced`);
  });

  it('is not misled by unfinished saves, which a start removes', () => {
    const path = save(1);
    mkdirSync(join(dir, '.tmp-step-000002-77'));
    writeFileSync(join(dir, '.tmp-step-000002-77', 'model.safetensors'), 'half');
    expect(findLatest(dir, warn)).toBe(path);
    cleanCheckpoints(dir);
    expect(readdirSync(dir).sort()).toEqual(['latest', 'step-000001']);
    cleanCheckpoints(join(dir, 'none'));
  });
});

function flipByte(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(file, bytes);
}

describe('assertResumable', () => {
  const saved = { config, dataFingerprint: 'data' };

  it('lets keys change that do not reach the weights', () => {
    const other = parseConfig({
      ...config,
      output: 'elsewhere',
      resume: 'never',
      training: { ...config.training, saveEvery: 7, evalEvery: 3, keepCheckpoints: 9 },
      evaluation: { chainLength: 3 },
      trackers: { tensorboard: false },
    });
    expect(() => {
      assertResumable('c', saved, { config: other, dataFingerprint: 'data' });
    }).not.toThrow();
  });

  it('lists every other key that differs', () => {
    const other = parseConfig({
      ...config,
      optimizer: { ...config.optimizer, learningRate: 2e-4, warmupSteps: 3 },
      data: { ...config.data, train: ['b.jsonl'] },
    });
    let message = '';
    try {
      assertResumable('runs/a/step-000001', saved, { config: other, dataFingerprint: 'other' });
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message.split('\n')).toEqual([
      'cannot resume from runs/a/step-000001, which was made with another config:',
      '  data.train: ["a.jsonl"] then, ["b.jsonl"] now',
      '  optimizer.learningRate: 0.0001 then, 0.0002 now',
      '  optimizer.warmupSteps: unset then, 3 now',
      '  the training records have changed',
      expect.stringContaining('start afresh') as string,
    ]);
  });
});

describe('a process killed while it saves', () => {
  it('leaves the previous checkpoint whole, whenever it is killed', async () => {
    buildDist();
    const script = fileURLToPath(new URL('./helpers/save-loop.mjs', import.meta.url));
    let first = 1;
    let unfinished = 0;
    for (let round = 0; round < 10; round++) {
      const child = spawn(process.execPath, [script, dir, String(first)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(child.stdout, 'data');
      await sleep(Math.random() * 60);
      child.kill('SIGKILL');
      await once(child, 'exit');
      unfinished += readdirSync(dir).some((name) => name.startsWith('.tmp-')) ? 1 : 0;

      const path = findLatest(dir, (message) => {
        throw new Error(message);
      })!;
      const { tensors, optimizer, state } = loadCheckpoint(path);
      expect(basename(path).startsWith(checkpointName(state.step))).toBe(true);
      expect(toFloats(tensors['weight']!)[49_999]).toBe(state.step);
      expect(toFloats(optimizer['weight.m']!)[0]).toBe(-state.step);
      expect(state.step).toBeGreaterThanOrEqual(first);
      dispose([tensors, optimizer]);
      cleanCheckpoints(dir);
      // The same step again: replacing a checkpoint is a save like any other.
      first = state.step;
    }
    // The test means something only if some kills came in the middle of a save.
    expect(unfinished).toBeGreaterThan(0);
  });
});
