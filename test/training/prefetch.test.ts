import { describe, expect, it } from 'vitest';
import { Prefetch } from '../../lib/training/prefetch.js';

const turns = (count: number) =>
  Array.from({ length: count }).reduce<Promise<void>>(
    (before) => before.then(() => new Promise((done) => void setImmediate(done))),
    Promise.resolve(),
  );

describe('prefetched values', () => {
  it('come in order, with no more than asked for under way', async () => {
    for (const ahead of [0, 1, 3]) {
      const started: number[] = [];
      const values = new Prefetch(2, 8, ahead, async (index) => {
        started.push(index);
        await turns(index % 3); // later ones may be done earlier
        return index;
      });
      for (let index = 2; index < 8; index++) {
        expect(await values.take()).toBe(index);
        expect(started.length).toBe(Math.min(6, index - 2 + 1 + ahead));
      }
      await values.close();
    }
  });

  it('fail at their turn', async () => {
    const values = new Prefetch(0, 9, 2, (index) =>
      index === 1 ? Promise.reject(new Error('one')) : Promise.resolve(index),
    );
    expect(await values.take()).toBe(0);
    await turns(3); // an unhandled rejection would end the process here
    await expect(values.take()).rejects.toThrow('one');
    expect(await values.take()).toBe(2);
    await values.close();
  });

  it('are waited for, and forgotten, when it is closed', async () => {
    let done = 0;
    const values = new Prefetch(0, 9, 4, async () => {
      await turns(3);
      done++;
    });
    await values.take();
    await values.close();
    expect(done).toBe(5);
  });
});
