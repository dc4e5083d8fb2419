#!/usr/bin/env node
// Formats csrc/ with the clang-format of the npm package, so that everyone has the same version.
//
//   clang-format.mjs           rewrites the files
//   clang-format.mjs --check   names the files that would change and exits with 1

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const files = readdirSync(join(root, 'csrc'), { recursive: true })
  .filter((name) => /\.(cc|h|cu|cuh|inc)$/.test(name))
  .map((name) => join('csrc', name))
  .sort();

const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
const clangFormat = createRequire(import.meta.url).resolve('clang-format/index.js');
const { status, error } = spawnSync(process.execPath, [clangFormat, '--style=file', ...mode, ...files], {
  cwd: root,
  stdio: 'inherit',
});
if (error) throw error;
process.exitCode = status ?? 1;
