#!/usr/bin/env node
// Brings a fresh clone to where it runs: system packages, npm packages, the addon, dist/.
//
//   bootstrap.mjs            everything that is missing or stale
//   bootstrap.mjs dist       that step alone (system, npm, addon, dist)
//   bootstrap.mjs cuda       the CUDA kernels, where there is nvcc; only if asked for
//   bootstrap.mjs emulation  the same kernels for the CPU, as tests run them; only if asked for
//
// Uses Node's own modules only, since it runs before npm's packages are there. EYAS_PREBUILDS_ONLY=1 never compiles.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const MINIMUM_NODE = [20, 17];
const prebuildsOnly = Boolean(process.env.EYAS_PREBUILDS_ONLY || process.env.PREBUILDS_ONLY);

/** Debian package → what shows that it is there. */
const SYSTEM_PACKAGES = {
  'libdnnl-dev': () =>
    prebuildsOnly || hasPrebuild() || findHeader('dnnl.h') || findHeader('oneapi/dnnl/dnnl.h'),
  'libjpeg62-turbo-dev': () => prebuildsOnly || hasPrebuild() || findHeader('jpeglib.h'),
  ffmpeg: () => onPath(process.env.FFMPEG ?? 'ffmpeg') && onPath(process.env.FFPROBE ?? 'ffprobe'),
  'g++': () => !mustCompile() || onPath(process.env.CXX ?? 'g++') || onPath('clang++'),
  make: () => !mustCompile() || onPath('make') || onPath('ninja'),
  cmake: () => !mustCompile() || onPath('cmake'),
};

const STEPS = { system: installSystemPackages, npm: installNpmPackages, addon: buildAddon, dist: buildDist };
const MORE_STEPS = { cuda: buildCuda, emulation: buildEmulation };

checkNode();
const chosen = process.argv.slice(2);
const all = { ...STEPS, ...MORE_STEPS };
for (const name of chosen)
  if (!(name in all)) fail(`unknown step ${name}: expected ${Object.keys(all).join(', ')}`);
for (const [name, step] of Object.entries(all))
  if (chosen.length === 0 ? name in STEPS : chosen.includes(name)) step();

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor < MINIMUM_NODE[1])) {
    fail(`Node ${MINIMUM_NODE.join('.')} or later is needed, this is ${process.versions.node}`);
  }
}

function installSystemPackages() {
  const missing = Object.entries(SYSTEM_PACKAGES).flatMap(([name, isThere]) => (isThere() ? [] : [name]));
  if (missing.length === 0) return;
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...missing];
  const asRoot =
    process.getuid?.() === 0
      ? []
      : onPath('sudo') && succeeds('sudo', ['-n', 'true'])
        ? ['sudo', '-n']
        : undefined;
  if (!onPath('apt-get')) {
    fail(`missing: ${missing.join(', ')} (Debian's names). Install them with your package manager.`);
  }
  if (asRoot === undefined) {
    fail(`missing: ${missing.join(', ')}. Run: sudo apt-get update && sudo ${install.join(' ')}`);
  }
  say(`installing system packages: ${missing.join(' ')}`);
  const environment = ['env', 'DEBIAN_FRONTEND=noninteractive'];
  run([...asRoot, ...environment, 'apt-get', 'update', '-q']);
  run([...asRoot, ...environment, ...install, '-q']);
}

function installNpmPackages() {
  const stamp = join(root, 'node_modules', '.eyas-lockfile');
  const wanted = digest([join(root, 'package-lock.json')]);
  if (readText(stamp) === wanted) return;
  // npm keeps this copy of what it installed.
  const installed = join(root, 'node_modules', '.package-lock.json');
  const isCurrent = existsSync(installed) && modified(installed) >= modified(join(root, 'package-lock.json'));
  if (!isCurrent) {
    say('installing npm packages: npm ci');
    run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  }
  writeFileSync(stamp, wanted);
}

function buildAddon() {
  if (!mustCompile()) return;
  const sources = [
    join(root, 'CMakeLists.txt'),
    join(root, 'scripts', 'build-native.mjs'),
    ...filesIn(join(root, 'csrc')),
  ];
  const addon = join(root, 'build', 'Release', 'eyas.node');
  ensureBuilt('addon', addon, sources, 'building the addon', ['node', 'scripts/build-native.mjs', 'build']);
}

function buildCuda() {
  if (!mustCompile()) return;
  if (!onPath(process.env.CUDACXX ?? 'nvcc') && !onPath('/usr/local/cuda/bin/nvcc')) {
    say('no nvcc: the CUDA kernels are not built');
    return;
  }
  ensureBuilt(
    'cuda',
    join(root, 'build', 'Release', 'libeyas_cuda.so'),
    cudaSources(),
    'building the CUDA kernels',
    ['node', 'scripts/build-cuda.mjs'],
  );
}

function buildEmulation() {
  if (process.arch !== 'x64') {
    say(`the CUDA kernels are emulated on x64 only, not on ${process.arch}`);
    return;
  }
  ensureBuilt(
    'emulation',
    join(root, 'build', 'emulated', 'libeyas_cuda.so'),
    cudaSources(),
    'building the CUDA kernels for the CPU',
    ['node', 'scripts/build-cuda.mjs', 'emulated'],
  );
}

function cudaSources() {
  return [
    join(root, 'scripts', 'build-cuda.mjs'),
    ...filesIn(join(root, 'csrc', 'cuda')),
    ...filesIn(join(root, 'csrc', 'core')).filter((name) => name.endsWith('.h') || name.endsWith('dtype.cc')),
  ];
}

function buildDist() {
  const sources = [join(root, 'tsconfig.json'), ...filesIn(join(root, 'lib'))];
  const compiler = join('node_modules', 'typescript', 'bin', 'tsc');
  ensureBuilt('dist', join(root, 'dist', 'cli', 'main.js'), sources, 'compiling TypeScript', [
    'node',
    compiler,
    '-p',
    '.',
  ]);
}

/** Runs a build unless its output is there and was made from the same sources. */
function ensureBuilt(name, output, sources, message, command) {
  const stamp = join(root, 'build', `.${name}-sources`);
  const wanted = digest(sources);
  if (existsSync(output) && readText(stamp) === wanted) return;
  say(`${message}: ${command.join(' ')}`);
  run(command);
  if (!existsSync(output)) fail(`${command.join(' ')} did not make ${output}`);
  mkdirSync(join(root, 'build'), { recursive: true });
  writeFileSync(stamp, wanted);
}

/** A prebuilt addon serves unless the repository's own has been compiled before. */
function mustCompile() {
  return !prebuildsOnly && (existsSync(join(root, 'build', 'Release', 'eyas.node')) || !hasPrebuild());
}

function hasPrebuild() {
  const dir = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  return existsSync(dir) && readdirSync(dir).some((name) => name.endsWith('.node'));
}

function findHeader(name) {
  const triplet = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch] ?? '';
  const given = (process.env.CPLUS_INCLUDE_PATH ?? '').split(delimiter).filter(Boolean);
  const prefixes = [
    process.env.DNNL_DIR,
    process.env.CMAKE_PREFIX_PATH,
    '/usr',
    '/usr/local',
    '/opt/homebrew',
  ]
    .filter(Boolean)
    .map((prefix) => join(prefix, 'include'));
  return [...given, ...prefixes, `/usr/include/${triplet}`].some((dir) => existsSync(join(dir, name)));
}

function onPath(command) {
  const candidates = command.includes('/')
    ? [command]
    : (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, command));
  return candidates.some((path) => {
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

/** Every file below a directory, in a fixed order. */
function filesIn(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function digest(files) {
  const hash = createHash('sha256');
  for (const file of files)
    if (existsSync(file)) hash.update(file).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

function readText(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function modified(file) {
  return statSync(file).mtimeMs;
}

function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function run([command, ...args]) {
  const program = command === 'node' ? process.execPath : command;
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error) fail(`${command}: ${error.message}`);
  if (status !== 0) fail(`${[command, ...args].join(' ')} failed with exit code ${status}`);
}

function say(line) {
  console.log(`bootstrap: ${line}`);
}

function fail(line) {
  console.error(`bootstrap: ${line}`);
  process.exit(1);
}
