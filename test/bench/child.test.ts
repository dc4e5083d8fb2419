import { afterEach, describe, expect, it } from 'vitest';
import { bench, helperFile, type ChildModule, type ChildProcess } from './helpers/modules.js';

const { Child, PeerError } = (await bench('harness', 'child.mjs')) as ChildModule;

const children: ChildProcess[] = [];
function start(threads = 1, command = process.execPath, args = ['--expose-gc', helperFile('side.mjs')]) {
  const child = new Child('the side', command, args, threads);
  children.push(child);
  return child;
}
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop()));
});

const messageOf = async (child: ChildProcess, request: object): Promise<string> => {
  const error: unknown = await child.ask(request).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(PeerError);
  return (error as Error).message;
};

describe('a side of a comparison', () => {
  it('answers requests one after another', async () => {
    const child = start();
    expect(await child.ask({ do: 'add', a: 2, b: 3 })).toEqual({ sum: 5 });
    expect(await child.ask({ do: 'later', value: ['a\nb', 0.1, null] })).toEqual({
      value: ['a\nb', 0.1, null],
    });
    expect(await child.ask({ do: 'nothing' })).toEqual({});
  });

  it('may print lines of its own between answers', async () => {
    const child = start();
    expect(await child.ask({ do: 'print' })).toEqual({ printed: true });
    expect(await child.ask({ do: 'add', a: 1, b: 1 })).toEqual({ sum: 2 });
  });

  it('gets the number of threads of the comparison', async () => {
    expect(await start(3).ask({ do: 'threads' })).toEqual({ threads: '3' });
  });

  it('reports an error with its place, and goes on', async () => {
    const child = start();
    const message = await messageOf(child, { do: 'fail' });
    expect(message).toMatch(/^the side: RangeError: no such row\n\s+at .*side\.mjs/);
    expect(await messageOf(child, { do: 'dance' })).toMatch(/^the side: TypeError/);
    expect(await child.ask({ do: 'add', a: 1, b: 2 })).toEqual({ sum: 3 });
  });

  it('is reported with the request, its exit code and all that it wrote when it ends', async () => {
    const child = start();
    // More than a pipe holds: the end must still be there.
    const request = { do: 'exit', code: 3, noise: 300_000, text: '\nImportError: no torch\n' };
    const message = await messageOf(child, request);
    expect(message).toMatch(/^the side ended at \{"do":"exit",/);
    expect(message).toContain(': exit code 3\n');
    expect(message).toMatch(/\nImportError: no torch$/);
    expect(await messageOf(child, { do: 'nothing' })).toContain(
      'the side ended at {"do":"nothing"}: exit code 3',
    );
  });

  it('is reported with its signal when one ends it', async () => {
    expect(await messageOf(start(), { do: 'signal', name: 'SIGKILL' })).toContain(
      'it was killed, as when memory runs out',
    );
    expect(await messageOf(start(), { do: 'signal', name: 'SIGTERM' })).toContain(': SIGTERM\n');
  });

  it('is reported when it cannot be started', async () => {
    expect(await messageOf(start(1, '/nonexistent/python', []), { do: 'nothing' })).toContain(
      'spawn /nonexistent/python ENOENT',
    );
  });

  it('ends when it is stopped, also twice and after it has ended by itself', async () => {
    const child = start();
    await child.ask({ do: 'nothing' });
    await child.stop();
    await child.stop();
    expect(await messageOf(child, { do: 'nothing' })).toContain('exit code 0');
    const gone = start();
    await messageOf(gone, { do: 'exit', code: 1, text: '' });
    await gone.stop();
  });

  it('reports the most memory that it held', async () => {
    const child = start();
    const before = (await child.ask({ do: 'peak' }))['mb'] as number;
    expect(before).toBeGreaterThan(10);
    await child.ask({ do: 'hold', mb: 256 });
    await child.ask({ do: 'release' });
    const most = (await child.ask({ do: 'peak' }))['mb'] as number;
    expect(most - before).toBeGreaterThan(200);
    expect(most - before).toBeLessThan(400);
  });

  it.runIf(process.platform === 'linux')('forgets earlier memory when the peak begins again', async () => {
    const child = start();
    await child.ask({ do: 'hold', mb: 256 });
    const most = (await child.ask({ do: 'peak' }))['mb'] as number;
    await child.ask({ do: 'release' });
    await child.ask({ do: 'reset_peak' });
    expect((await child.ask({ do: 'peak' }))['mb']).toBeLessThan(most - 200);
  });
});
