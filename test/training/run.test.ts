import { appendFileSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../lib/native.js';
import { parseConfig, type TrainConfigInput } from '../../lib/training/config.js';
import { runTraining } from '../../lib/training/run.js';
import type { JobContext } from '../../lib/worker/job.js';
import type { JobEvent } from '../../lib/worker/jobs.js';
import { copyConversations, temporary, tinyModel } from '../helpers/tiny.js';

const { dir, remove } = temporary();
let config: (output: string, change?: Partial<TrainConfigInput['training']>) => TrainConfigInput;

beforeAll(() => {
  const train = copyConversations(dir, 'train', { text: 4, image: 6, video: 1 });
  const heldout = copyConversations(dir, 'heldout', { text: 1, image: 2 });
  config = (output, change) => ({
    model: tinyModel,
    output: join(dir, output),
    data: { train: [train], eval: [heldout] },
    draft: { vocabSize: 300 },
    ttt: { steps: 3 },
    optimizer: { learningRate: 1e-3 },
    training: {
      epochs: 3,
      batchTokens: 1024,
      gradientAccumulation: 2,
      evalEvery: 2,
      saveEvery: 1,
      threads: 2,
      ...change,
    },
  });
});
afterAll(remove);

/** Runs in this thread; asks the run to stop once `stopAfter` steps are done. */
async function run(
  input: TrainConfigInput,
  stopAfter = Infinity,
  watch: (event: JobEvent) => void = () => undefined,
) {
  const events: JobEvent[] = [];
  const steps = () => events.filter((event) => event.type === 'step').length;
  const context: JobContext<JobEvent> = {
    emit: (event) => {
      events.push(event);
      watch(event);
    },
    stopRequested: () => steps() >= stopAfter,
    throwIfStopped: () => undefined,
    signal: new AbortController().signal,
  };
  const result = await runTraining(parseConfig(input), context);
  return { result, events };
}

const weights = (checkpoint: string) => readFileSync(join(checkpoint, 'model.safetensors'));
const moments = (checkpoint: string) => readFileSync(join(checkpoint, 'optimizer.safetensors'));
const steps = (output: string) =>
  readFileSync(join(dir, output, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { step: number; eval?: unknown; loss?: number })
    .filter((record) => record.eval === undefined);

describe('a training run', () => {
  it('lowers the loss, evaluates, saves, and leaves no tensor behind', async () => {
    const before = native.memory().liveTensors;
    const { result, events } = await run(config('whole'));
    expect(native.memory().liveTensors).toBe(before);
    expect(result).toMatchObject({ stopped: false, records: { used: 11, skipped: { bad: 0, tooLong: 0 } } });
    const losses = events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
    expect(losses).toHaveLength(result.steps);
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]!);
    expect(events.filter((event) => event.type === 'eval').length).toBeGreaterThan(2);
    expect(result.metrics['acceptLength']).toBeGreaterThan(1);
    expect(steps('whole').map(({ step }) => step)).toEqual(losses.map((_, i) => i + 1));
    const kept = readdirSync(join(dir, 'whole', 'checkpoints')).filter((name) => name.startsWith('step-'));
    expect(kept.length).toBeLessThanOrEqual(3);
    expect(readdirSync(join(dir, 'whole', 'tensorboard'))).toHaveLength(1);
  });

  it('that was stopped and resumed equals an uninterrupted one bit for bit', async () => {
    const { result: whole } = await run(config('uninterrupted'));
    const { result: first } = await run(config('interrupted'), 2);
    expect(first).toMatchObject({ stopped: true, steps: 2 });
    const { result: rest, events } = await run(config('interrupted'));
    expect(events.some((event) => event.type === 'log' && event.message.includes('resumed from'))).toBe(true);
    expect(rest.steps).toBe(whole.steps);
    expect(weights(rest.latestCheckpoint).equals(weights(whole.latestCheckpoint))).toBe(true);
    expect(moments(rest.latestCheckpoint).equals(moments(whole.latestCheckpoint))).toBe(true);
    expect(steps('interrupted').map(({ step, loss }) => [step, loss])).toEqual(
      steps('uninterrupted').map(({ step, loss }) => [step, loss]),
    );
  });

  it('that prepares records ahead of time equals one that does not', async () => {
    const { result: whole } = await run(config('prefetch-0', { prefetch: 0, maxSteps: 3 }));
    for (const prefetch of [1, 5]) {
      const before = native.memory().liveTensors;
      const input = config(`prefetch-${prefetch}`, { prefetch, maxSteps: 3 });
      const { result } = await run({ ...input, data: { ...input.data, cacheBytes: 0 } });
      expect(native.memory().liveTensors).toBe(before);
      expect(weights(result.latestCheckpoint).equals(weights(whole.latestCheckpoint))).toBe(true);
    }
  });

  it('trains up to a record that cannot be read any more, and names it', async () => {
    const { dir: other, remove: removeOther } = temporary();
    const file = copyConversations(other, 'train', { image: 3 });
    const base = config('vanished', { epochs: 2, batchTokens: 1, gradientAccumulation: 1 });
    const input = { ...base, data: { train: [file], shuffle: false, cacheBytes: 0 } };
    const second = /media[^"]*/.exec(readFileSync(file, 'utf8').split('\n')[1]!)![0];
    const vanish = (event: JobEvent) => {
      if (event.type === 'step' && event.step === 3) rmSync(join(other, second));
    };
    await expect(run(input, Infinity, vanish)).rejects.toThrow(second);
    expect(steps('vanished').map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    removeOther();
  });

  it('refuses to resume with another config, and says which keys differ', async () => {
    await run(config('other', { maxSteps: 1 }));
    await expect(
      run({ ...config('other', { maxSteps: 1 }), optimizer: { learningRate: 5e-4 } }),
    ).rejects.toThrow('optimizer.learningRate: 0.001 then, 0.0005 now');
  });

  it('does not start afresh over the checkpoints of another run', async () => {
    const input = config('afresh', { maxSteps: 1 });
    await run({ ...input, resume: 'never' });
    await expect(run({ ...input, resume: 'never' })).rejects.toThrow(
      'expected an output directory without checkpoints',
    );
  });

  it('stops after several steps in a row with gradients that are not finite', async () => {
    const exploding = {
      ...config('exploding', { maxNonFiniteSteps: 2 }),
      draft: { vocabSize: 300, initStd: 1e30 },
    };
    await expect(run(exploding)).rejects.toThrow('2 steps in a row had non-finite gradients');
  });

  it('fails on a bad record, or skips and counts it', async () => {
    const { dir: other, remove: removeOther } = temporary();
    const file = copyConversations(other, 'train', { text: 3 });
    appendFileSync(
      file,
      '{"messages":[{"role":"user","content":[{"type":"image","image":"missing.png"}]},{"role":"assistant","content":"a"}]}\n',
    );
    const input = (onBadRecord: 'fail' | 'skip') => {
      const base = config(`bad-${onBadRecord}`, { maxSteps: 1 });
      return { ...base, data: { ...base.data, train: [file], onBadRecord } };
    };
    await expect(run(input('fail'))).rejects.toThrow(/train\.jsonl:4: .*missing\.png/);
    const { result } = await run(input('skip'));
    expect(result.records).toEqual({ used: 3, skipped: { tooLong: 0, unsupervised: 0, bad: 1 } });
    removeOther();
  });

  it('drops records that are too long, whole', async () => {
    const base = config('long', { maxSteps: 1 });
    const { result } = await run({ ...base, data: { ...base.data, maxLength: 110 } });
    expect(result.records.skipped['tooLong']).toBeGreaterThan(0);
    expect(result.records.used + result.records.skipped['tooLong']!).toBe(11);
  });
});
