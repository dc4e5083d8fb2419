import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdtempSync,
  mkdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { root } from '../helpers/dist.js';

// A repository of its own, and a PATH on which only what is put there exists: programs write down how they were called.
let base: string;
let repository: string;
let bin: string;
let log: string;

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function program(name: string, body = ''): void {
  write(join(bin, name), `#!/bin/sh\necho ${name} "$@" >> ${log}\n${body}\n`);
  chmodSync(join(bin, name), 0o755);
}

function bootstrap(...args: string[]): { code: number | null; output: string; calls: string[] } {
  return bootstrapWith({}, ...args);
}

function bootstrapWith(env: Record<string, string>, ...args: string[]): ReturnType<typeof bootstrap> {
  writeFileSync(log, '');
  const script = join(repository, 'scripts', 'bootstrap.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    // Whatever this machine has: the headers of oneDNN are there.
    env: { PATH: bin, DNNL_DIR: base, ...env },
  });
  const calls = readFileSync(log, 'utf8').split('\n').filter(Boolean);
  return { code: status, output: stdout + stderr, calls };
}

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'eyas-bootstrap-'));
  repository = join(base, 'repository');
  bin = join(base, 'bin');
  log = join(base, 'log');
  const scripts = join(repository, 'scripts');
  cpSync(join(root, 'scripts', 'bootstrap.mjs'), join(scripts, 'bootstrap.mjs'), { recursive: true });
  write(join(base, 'include', 'dnnl.h'), '');
  write(join(repository, 'package.json'), '{}');
  write(join(repository, 'package-lock.json'), '{}');
  write(join(repository, 'tsconfig.json'), '{}');
  write(join(repository, 'CMakeLists.txt'), '');
  write(join(repository, 'csrc', 'core', 'tensor.cc'), 'int a;');
  write(join(repository, 'lib', 'index.ts'), 'export {};');
  const makes = (call: string, path: string): string =>
    `import fs from 'node:fs';
fs.appendFileSync(${JSON.stringify(log)}, ${JSON.stringify(`${call}\n`)});
fs.mkdirSync(${JSON.stringify(dirname(path))}, { recursive: true });
fs.writeFileSync(${JSON.stringify(path)}, '');`;
  write(
    join(scripts, 'build-native.mjs'),
    makes('build-native', join(repository, 'build', 'Release', 'eyas.node')),
  );
  const compiler = join(base, 'tsc.mjs');
  write(compiler, makes('tsc', join(repository, 'dist', 'cli', 'main.js')));

  const compilerDir = join(repository, 'node_modules', 'typescript', 'bin');
  program(
    'npm',
    `/bin/mkdir -p ${compilerDir} && echo "import('${compiler}')" > ${join(compilerDir, 'tsc')}`,
  );
  program('sudo', 'while [ "$1" = -n ]; do shift; done\nexec "$@"');
  program('env', 'exec /usr/bin/env "$@"');
  for (const tool of ['ffmpeg', 'ffprobe', 'g++', 'make', 'cmake']) program(tool);
});
afterEach(() => {
  rmSync(base, { recursive: true });
});

describe('bootstrap', () => {
  it('installs and builds what a fresh clone lacks, and then does nothing', () => {
    const first = bootstrap();
    expect(first, first.output).toMatchObject({ code: 0 });
    expect(first.calls).toEqual(['npm ci --ignore-scripts --no-audit --no-fund', 'build-native', 'tsc']);
    expect(first.output.trimEnd().split('\n')).toHaveLength(3);
    expect(bootstrap()).toEqual({ code: 0, output: '', calls: [] });
  });

  it('does again what has become stale, and only that', () => {
    bootstrap();
    appendFileSync(join(repository, 'csrc', 'core', 'tensor.cc'), 'int b;');
    expect(bootstrap().calls).toEqual(['build-native']);
    appendFileSync(join(repository, 'lib', 'index.ts'), '//');
    expect(bootstrap().calls).toEqual(['tsc']);
    writeFileSync(join(repository, 'package-lock.json'), '{ }');
    expect(bootstrap().calls).toEqual([expect.stringMatching(/^npm ci/) as string]);
    rmSync(join(repository, 'dist'), { recursive: true });
    expect(bootstrap().calls).toEqual(['tsc']);
    expect(bootstrap().calls).toEqual([]);
  });

  it('takes over packages that npm itself has installed from the same lock file', () => {
    bootstrap();
    rmSync(join(repository, 'node_modules', '.eyas-lockfile'));
    const installed = join(repository, 'node_modules', '.package-lock.json');
    writeFileSync(installed, '{}');
    expect(bootstrap().calls).toEqual([]);
    rmSync(join(repository, 'node_modules', '.eyas-lockfile'));
    utimesSync(installed, 0, 0);
    expect(bootstrap().calls).toEqual([expect.stringMatching(/^npm ci/) as string]);
  });

  it('runs a single step', () => {
    bootstrap('npm');
    expect(bootstrap('dist').calls).toEqual(['tsc']);
    expect(bootstrap('nothing')).toMatchObject({
      code: 1,
      output: 'bootstrap: unknown step nothing: expected system, npm, addon, dist, cuda, emulation\n',
    });
  });

  it('installs system packages with apt-get', () => {
    rmSync(join(bin, 'ffprobe'));
    program(
      'apt-get',
      `if [ "$1" = install ]; then /bin/ln -s ${join(bin, 'ffmpeg')} ${join(bin, 'ffprobe')}; fi`,
    );
    const { code, calls } = bootstrap('system');
    expect(code).toBe(0);
    expect(calls.filter((call) => call.startsWith('apt-get'))).toEqual([
      'apt-get update -q',
      'apt-get install -y --no-install-recommends ffmpeg -q',
    ]);
    expect(calls).toContainEqual(expect.stringContaining('env DEBIAN_FRONTEND=noninteractive apt-get'));
    expect(bootstrap('system')).toEqual({ code: 0, output: '', calls: [] });
  });

  it('says what is missing where it cannot install', () => {
    rmSync(join(bin, 'cmake'));
    rmSync(join(bin, 'ffmpeg'));
    const { code, output } = bootstrap();
    expect(code).toBe(1);
    expect(output).toBe(
      "bootstrap: missing: ffmpeg, cmake (Debian's names). Install them with your package manager.\n",
    );
  });

  it.runIf(process.getuid?.() !== 0)('says which command to run where it may not install', () => {
    rmSync(join(bin, 'ffmpeg'));
    program('apt-get');
    program('sudo', 'exit 1');
    const { code, output } = bootstrap('system');
    expect(code).toBe(1);
    expect(output).toContain('sudo apt-get update && sudo apt-get install -y --no-install-recommends ffmpeg');
  });

  it('fails with the step that fails', () => {
    program('npm', 'exit 7');
    expect(bootstrap('npm')).toMatchObject({
      code: 1,
      output: expect.stringContaining(
        'npm ci --ignore-scripts --no-audit --no-fund failed with exit code 7',
      ) as string,
    });
  });

  it('compiles nothing where a prebuilt addon serves, or is asked for', () => {
    for (const tool of ['g++', 'make', 'cmake']) rmSync(join(bin, tool));
    const { code, calls } = bootstrapWith({ EYAS_PREBUILDS_ONLY: '1' });
    expect(code).toBe(0);
    expect(calls).not.toContain('build-native');
    write(join(repository, 'prebuilds', `${process.platform}-${process.arch}`, 'eyas.node'), '');
    expect(bootstrap()).toEqual({ code: 0, output: '', calls: [] });
  });
});
