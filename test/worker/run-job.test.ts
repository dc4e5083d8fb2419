import { beforeAll, describe, expect, it } from 'vitest';
import { runModule } from '../../lib/worker/run-job.js';
import { buildDist } from '../helpers/dist.js';

const module = new URL('./fixtures/job.mjs', import.meta.url);
const run = (
  payload: unknown,
  options?: { onEvent?: (event: unknown) => void; signal?: AbortSignal },
): Promise<unknown> => runModule(module, payload, options);

beforeAll(buildDist);

describe('runModule', () => {
  it('leaves the event loop of the caller free', async () => {
    const events: unknown[] = [];
    let ticks = 0;
    const timer = setInterval(() => ticks++, 10);
    const onEvent = (event: unknown): void => {
      clearInterval(timer);
      events.push(event);
    };
    const result = await run({ behaviour: 'burn', milliseconds: 300 }, { onEvent });
    expect(ticks).toBeGreaterThanOrEqual(20);
    expect(events).toEqual([result]);
  });

  it('hands payload and result over, typed arrays too', async () => {
    const payload = { behaviour: 'echo', ids: Int32Array.of(1, 2, 3), deep: { list: [1, 'two', null] } };
    expect(await run(payload)).toEqual(payload);
  });

  it('ends although the job has left a timer running', async () => {
    expect(await run({ behaviour: 'leak' })).toBe('done');
  });

  it('rejects with the error of the job: name, message, stack, cause and code', async () => {
    const error = (await run({ behaviour: 'fail' }).catch((thrown: unknown) => thrown)) as Error;
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'RangeError', message: 'record 7 is bad' });
    expect(error.stack).toMatch(/fixtures\/job\.mjs:\d+/);
    expect(error.cause).toMatchObject({ message: 'no such file', code: 'ENOENT' });
  });

  it('rejects when the thread dies, however it does', async () => {
    await expect(run({ behaviour: 'crash' })).rejects.toThrow('thrown outside of the job');
    await expect(run({ behaviour: 'exit' })).rejects.toThrow('ended with code 3 before its result');
    await expect(run({ behaviour: 'function' })).rejects.toMatchObject({ name: 'DataCloneError' });
    await expect(runModule(new URL('./none.mjs', module), {})).rejects.toMatchObject({
      code: 'ERR_MODULE_NOT_FOUND',
    });
  });

  it('rejects with what a listener throws', async () => {
    const onEvent = (): void => {
      throw new Error('listener');
    };
    await expect(run({ behaviour: 'spin' }, { onEvent })).rejects.toThrow('listener');
  });

  describe('asked to stop', () => {
    const stopping = (behaviour: string): Promise<unknown> => {
      const controller = new AbortController();
      const onEvent = (): void => {
        controller.abort();
      };
      return run({ behaviour }, { onEvent, signal: controller.signal });
    };

    it('reaches a job in the middle of synchronous work', async () => {
      expect(await stopping('spin')).toBe('stopped early');
    });

    it('reaches a job that waits', async () => {
      expect(await stopping('wait')).toBe(true);
    });

    it('lets a job end without a result', async () => {
      await expect(stopping('refuse')).rejects.toMatchObject({ name: 'AbortError' });
    });

    it('starts nothing when it is too late already', async () => {
      await expect(run({ behaviour: 'spin' }, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        name: 'AbortError',
      });
    });
  });
});
