import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { bench } from './helpers/modules.js';

const { findPython } = (await bench('harness', 'python.mjs')) as {
  findPython: (named: string | undefined, say: (text: string) => void) => Promise<string>;
};

// A python3 that makes environments of shell scripts, and writes down how everything was called.
let base: string;
let made: string;
let log: string;
let said: string[];
const find = (named?: string): Promise<string> => findPython(named, (text) => said.push(text));
const calls = (): string[] => {
  const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : [];
  rmSync(log, { force: true });
  return lines;
};

function script(path: string, body: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** The interpreter of the environment: `imports` is what it does when it is asked to import. */
function environment(imports: string): string {
  const inner = join(base, 'inner');
  script(inner, `if [ "$1" = -c ]; then\n${imports}\nfi\necho "$@" >> ${log}`);
  const python = join(made, 'bin', 'python');
  return `echo python3 "$@" >> ${log}\n/bin/mkdir -p "$3/bin"\n/bin/cp ${inner} ${python}`;
}

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'eyas-bench-python-'));
  made = join(base, 'cache', 'eyas', 'bench-python');
  log = join(base, 'log');
  said = [];
  vi.stubEnv('XDG_CACHE_HOME', join(base, 'cache'));
  vi.stubEnv('PATH', join(base, 'bin'));
  script(join(base, 'bin', 'python3'), environment('exit 0'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(base, { recursive: true });
});

describe('the interpreter of the peers', () => {
  it('is the one that was named, where that has the packages', async () => {
    const named = script(join(base, 'mine'), 'exit 0');
    expect(await find(named)).toBe(named);
    expect(said).toEqual([]);
    expect(calls()).toEqual([]);
  });

  it.each([
    [
      'echo Traceback >&2; echo "ModuleNotFoundError: No module named \'torch\'" >&2; exit 1',
      "ModuleNotFoundError: No module named 'torch'",
    ],
    ['exit 3', 'exit code 3'],
    ['kill -SEGV $$', 'SIGSEGV'],
  ])('is refused where that says: %s', async (body, why) => {
    const named = script(join(base, 'mine'), body);
    await expect(find(named)).rejects.toThrow(`--python ${named}: expected torch==`);
    await expect(find(named)).rejects.toThrow(`received ${why}`);
  });

  it('is made once with pinned packages where none was named', async () => {
    const python = join(made, 'bin', 'python');
    expect(await find()).toBe(python);
    expect(said).toEqual([expect.stringContaining(made)]);
    expect(calls()).toEqual([
      `python3 -m venv ${made}`,
      expect.stringMatching(/^-m pip install --quiet torch==\S+ transformers==\S+ safetensors pillow$/),
      expect.stringMatching(/^-m pip install --quiet --no-deps torchvision==\S+$/),
    ]);
    expect(await find()).toBe(python);
    expect(calls()).toEqual([]);
    expect(said).toHaveLength(1);
  });

  it('is made again when the pinned packages have changed', async () => {
    await find();
    writeFileSync(join(made, 'ready'), 'torch==1.0');
    calls();
    await find();
    expect(calls()).toHaveLength(3);
  });

  it('is made again when what was begun was not finished', async () => {
    await find();
    rmSync(join(made, 'ready'));
    calls();
    await find();
    expect(calls()).toHaveLength(3);
  });

  it('is asked for where none can be made', async () => {
    script(join(base, 'bin', 'python3'), 'echo "No module named venv" >&2; exit 1');
    await expect(find()).rejects.toThrow(
      `python3 -m venv ${made} failed; give an interpreter by --python\nNo module named venv`,
    );
    rmSync(join(base, 'bin', 'python3'));
    await expect(find()).rejects.toThrow('spawnSync python3 ENOENT');
  });

  it('is not ready while its packages do not import', async () => {
    const site = join(base, 'site');
    mkdirSync(site);
    const imports = `case "$2" in *find_spec*) echo ${site}; exit 0;; esac\necho broken >&2; exit 1`;
    script(join(base, 'bin', 'python3'), environment(imports));
    await expect(find()).rejects.toThrow(`${made}: expected torch==`);
    expect(existsSync(join(made, 'ready'))).toBe(false);
  });
});
