#!/usr/bin/env node
// Builds the library of CUDA kernels (csrc/cuda), which the addon opens when a GPU is asked for.
//
//   build-cuda.mjs             with nvcc, to beside the addon
//   build-cuda.mjs prebuilds   the same, to beside the prebuilt addon; without nvcc it only says so
//   build-cuda.mjs emulated    for the CPU, into build/emulated/: for tests without a GPU
//
// Extra CMake options come from EYAS_CUDA_CMAKE_ARGS, for example -DCMAKE_CUDA_ARCHITECTURES=90.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const prebuilds = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
const compiled = join(root, 'build', 'Release');
// As node-gyp-build looks for the addon.
const addon = existsSync(join(compiled, 'eyas.node')) || !existsSync(prebuilds) ? compiled : prebuilds;
const outputs = { cuda: addon, prebuilds, emulated: join(root, 'build', 'emulated') };

const [kind = 'cuda', ...rest] = process.argv.slice(2);
if (!(kind in outputs) || rest.length > 0) {
  throw new Error(`expected nothing, prebuilds or emulated, received ${process.argv.slice(2).join(' ')}`);
}
if (kind === 'prebuilds' && !hasNvcc()) {
  console.log('build-cuda: no nvcc: the prebuilt package computes on the CPU only');
} else {
  const work = join(root, 'build', 'cmake', kind === 'emulated' ? 'emulated' : 'cuda');
  const defines = [`-DEYAS_OUT=${outputs[kind]}`, `-DEYAS_EMULATED=${kind === 'emulated' ? 'ON' : 'OFF'}`];
  const extra = (process.env.EYAS_CUDA_CMAKE_ARGS ?? '').split(/\s+/).filter(Boolean);
  run('cmake', ['-S', join(root, 'csrc', 'cuda'), '-B', work, ...defines, ...extra]);
  run('cmake', ['--build', work, '--parallel', String(availableParallelism())]);
}

function hasNvcc() {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/cuda/bin'];
  return process.env.CUDACXX !== undefined || folders.some((folder) => existsSync(join(folder, 'nvcc')));
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}
