#!/usr/bin/env node
// Builds csrc/ with cmake-js into build/<Config>/.
//
// Takes node-gyp's command line, so one script serves npm run build:native, the
// action in binding.gyp, and `prebuildify --node-gyp scripts/build-native.mjs`.
//
//   build-native.mjs [build|rebuild|clean] [--debug] [--config=Release] [--arch=x64]
//
// Extra CMake options come from EYAS_CMAKE_ARGS, for example
//   EYAS_CMAKE_ARGS="-DCMAKE_CXX_FLAGS=-march=native" npm run build:native

import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const buildDir = join(root, 'build');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  strict: false, // prebuildify passes --target, --devdir, --release
  options: {
    arch: { type: 'string', default: process.arch },
    config: { type: 'string' },
    debug: { type: 'boolean' },
    target: { type: 'string' },
    devdir: { type: 'string' },
    release: { type: 'boolean' },
  },
});
const [command = 'build'] = positionals;
if (!['build', 'rebuild', 'clean'].includes(command)) {
  throw new Error(`Unknown command ${command}: expected build, rebuild or clean`);
}

if (command !== 'build') {
  rmSync(buildDir, { recursive: true, force: true });
}
if (command !== 'clean') {
  const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const config = values.config ?? (values.debug ? 'Debug' : 'Release');
  const options = [
    '--directory',
    root,
    // Not build/ itself: node-gyp keeps its Makefile there.
    '--out',
    join(buildDir, 'cmake', config),
    '--config',
    config,
    '--arch',
    values.arch,
    '--log-level',
    'warn',
  ];
  const defines = (process.env.EYAS_CMAKE_ARGS ?? '')
    .split(/\s+/)
    .filter(Boolean)
    .map((define) => define.replace(/^-D/, '--CD'));
  // Always configure: `cmake-js build` alone ignores changed options once a cache exists.
  run(['configure', ...options, ...defines]);
  run(['build', ...options, '--parallel', String(availableParallelism())]);

  function run(args) {
    // The jobserver variables of node-gyp's make confuse a nested make.
    const env = { ...process.env };
    for (const name of ['MAKEFLAGS', 'MFLAGS', 'MAKELEVEL']) delete env[name];
    const { status, error } = spawnSync(process.execPath, [cmakeJs, ...args], { stdio: 'inherit', env });
    if (error) throw error;
    if (status !== 0) process.exit(status ?? 1);
  }
}
