// The two sides of a comparison, and what they run on.

import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { native } from '../../../dist/native.js';
import { Child } from './child.mjs';

const bench = fileURLToPath(new URL('..', import.meta.url));

/** `eyas(name)` and `peer(name)` start a process of scripts/bench/eyas or scripts/bench/peer. */
export function makeSides(python, device, say) {
  const { threads } = native.info();
  // A rehearsal on an emulated GPU has its peer on the CPU.
  const theirs = process.env.EYAS_BENCH_PEER_DEVICE ?? device;
  const start = (name, command, script, where) =>
    new Child(name, command, [join(bench, script)], threads, where);
  return {
    say,
    eyas: (name) => start('eyas', process.execPath, join('eyas', `${name}.mjs`), device),
    peer: (name) => start('the peer', python, join('peer', `${name}.py`), theirs),
  };
}

export function describeDevice(device) {
  if (device === 'cpu') return `${cpus()[0].model.trim()}, ${cpus().length} cores`;
  const { devices, reason } = native.cudaDevices();
  if (devices.length === 0) throw new Error(`--device cuda: expected a GPU, received none: ${reason}`);
  return devices[0].name;
}
