import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyConversations, temporary, tinyModel } from '../helpers/tiny.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { dir, remove } = temporary();
const source = join(dir, 'source');
const user = join(dir, 'user');
const prebuilds = `${process.platform}-${process.arch}`;

const run = (command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv = process.env) =>
  execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

const hasNvcc = spawnSync('nvcc', ['--version']).status === 0;

/** PATH of a machine without compiler and CMake: node and ffmpeg alone. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const bin = join(dir, 'bin');
  mkdirSync(bin, { recursive: true });
  for (const name of ['node', 'ffmpeg', 'ffprobe']) {
    symlinkSync(run('which', [name], root).trim(), join(bin, name));
  }
  return { PATH: bin, HOME: user };
}

beforeAll(() => {
  // A copy: making prebuilds empties build/, which other tests use.
  const left = new Set(['.git', 'build', 'coverage', 'models', 'node_modules', 'prebuilds', 'runs', 'test']);
  const filter = (path: string) => !left.has(relative(root, path));
  cpSync(root, source, { recursive: true, filter });
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  // For one generation of GPUs: what is left out is more of the same.
  run('npm', ['run', 'prebuild'], source, {
    ...process.env,
    EYAS_CUDA_CMAKE_ARGS: '-DCMAKE_CUDA_ARCHITECTURES=90-real',
  });
  run('npm', ['pack', '--pack-destination', dir], source);
  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), '{"private": true, "type": "module"}\n');
  const [tarball] = readdirSync(dir).filter((name) => name.endsWith('.tgz'));
  run('npm', ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', join(dir, tarball!)], user);
}, 600_000);
afterAll(remove);

describe('the packed tarball, installed without scripts in an empty directory', () => {
  const installed = join(user, 'node_modules', 'eyas');

  it('carries the addon and the libraries that it needs, and no build, tests or models', () => {
    const files = readdirSync(join(installed, 'prebuilds', prebuilds)).sort();
    expect(files).toContain('eyas.node');
    expect(files).toContain('libdnnl.so.2');
    expect(files).toContain('libgomp.so.1');
    expect(files.includes('libeyas_cuda.so')).toBe(hasNvcc);
    expect(readdirSync(installed)).not.toContain('build');
    expect(readdirSync(installed)).not.toContain('test');
    expect(readdirSync(installed)).not.toContain('models');
  });

  it('trains, exports and verifies with nothing but node and ffmpeg on the PATH, on its own oneDNN', () => {
    const data = copyConversations(join(user), 'train', { text: 2, image: 3, video: 1 });
    const script = `
      import { readFileSync } from 'node:fs';
      import { evaluate, exportDraft, train, verifyDraft } from 'eyas';
      const model = ${JSON.stringify(tinyModel)};
      const result = await train({
        model, output: 'run', data: { train: ${JSON.stringify(data)} }, draft: { vocabSize: 400 },
        training: { maxSteps: 3, batchTokens: 1024 },
      });
      const { path } = await exportDraft({ checkpoint: result.latestCheckpoint, model, out: 'draft' });
      const { lossless } = await evaluate({ model, draft: path, data: [${JSON.stringify(data)}], maxRecords: 2, maxNewTokens: 20 });
      const { ok } = await verifyDraft({ draft: path, target: model });
      const libraries = readFileSync('/proc/self/maps', 'utf8').match(/\\S*(libdnnl|libgomp)\\S*/g);
      console.log(JSON.stringify({ steps: result.steps, lossless, ok, libraries: [...new Set(libraries)] }));
    `;
    writeFileSync(join(user, 'script.mjs'), script);
    const environment = bareEnvironment();
    const report = JSON.parse(run('node', ['script.mjs'], user, environment)) as {
      steps: number;
      lossless: boolean;
      ok: boolean;
      libraries: string[];
    };
    expect(report).toMatchObject({ steps: 3, lossless: true, ok: true });
    expect(report.libraries.length).toBeGreaterThanOrEqual(2);
    for (const library of report.libraries) expect(library.startsWith(installed)).toBe(true);
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(run(join('node_modules', '.bin', 'eyas'), ['info'], user, environment)).toContain(version);
  });
});
