#!/usr/bin/env node
// Where an optimizer step of the `ttt` suite spends its time, by operation: the fastest of five steps.
//
//   node scripts/bench/profile.mjs [--shape vlm] [--dtype bfloat16] [--device cpu]
//
// On a GPU it is the time of asking, not of the work.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { choose } from './harness/options.mjs';
import { makeSides } from './harness/sides.mjs';
import { shapes } from './suites/ttt.mjs';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'vlm' },
    dtype: { type: 'string', default: 'bfloat16' },
    device: { type: 'string', default: 'cpu' },
  },
});
const [name] = choose('--shape', values.shape, Object.keys(shapes));
const [dtype] = choose('--dtype', values.dtype, ['float32', 'bfloat16']);
const [device] = choose('--device', values.device, ['cpu', 'cuda']);
const folder = mkdtempSync(join(tmpdir(), 'eyas-profile-'));
const child = makeSides('python3', device, () => undefined).eyas('ttt');
try {
  await child.ask({ do: 'load', folder, shape: shapes[name], dtype, rules: 'tokens' });
  for (let i = 0; i < 3; i++) await child.ask({ do: 'step', lr: 0 });
  const { ms, outside_native_share, calls } = await child.ask({ do: 'profile' });
  console.log(
    `${name} ${dtype}: ${ms.toFixed(1)} ms, ${(100 * outside_native_share).toFixed(1)}% outside native code`,
  );
  const rows = Object.entries(calls).sort(([, a], [, b]) => b.ms - a.ms);
  for (const [operation, { calls: count, ms: spent }] of rows) {
    console.log(`${spent.toFixed(2).padStart(9)} ms  ${String(count).padStart(4)} × ${operation}`);
  }
} finally {
  await child.stop();
  rmSync(folder, { recursive: true, force: true });
}
