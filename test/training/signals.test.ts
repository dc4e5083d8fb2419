import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildDist } from '../helpers/dist.js';

const script = fileURLToPath(new URL('./helpers/signals.mjs', import.meta.url));
beforeAll(buildDist);

async function start(...args: string[]): Promise<ChildProcessWithoutNullStreams> {
  const child = spawn(process.execPath, [script, ...args]);
  expect(await line(child)).toBe('ready\n');
  return child;
}

const line = async (child: ChildProcessWithoutNullStreams): Promise<string> =>
  String((await once(child.stdout, 'data'))[0]);

describe('StopSignals', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('turns %s into a request', async (signal) => {
    const child = await start();
    child.kill(signal);
    expect(await line(child)).toBe(`asked by ${signal}\n`);
    expect(await once(child, 'exit')).toEqual([42, null]);
  });

  it('lets the second signal end the process at once', async () => {
    const child = await start('hang');
    child.kill('SIGTERM');
    expect(await line(child)).toBe('asked by SIGTERM\n');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([null, 'SIGINT']);
  });
});
