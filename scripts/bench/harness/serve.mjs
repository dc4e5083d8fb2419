// The eyas side's end of child.mjs: one request at a time, names to functions.

import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { native } from '../../../dist/native.js';

/** Where this side computes. */
export const device = process.env.EYAS_BENCH_DEVICE ?? 'cpu';

/** Answers requests `{ do, …}` with what `actions[do]` gives. */
export async function serve(actions) {
  native.setDevice(device);
  const all = { reset_peak: resetPeak, peak, ...actions };
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
      console.log(JSON.stringify((await all[request.do](request)) ?? {}));
    } catch (error) {
      console.log(JSON.stringify({ error: error.stack }));
    }
  }
}

/** Begins a new maximum of resident memory; Linux only, elsewhere it stays that of the whole process. Of a GPU, its own. */
function resetPeak() {
  if (device !== 'cpu') {
    native.resetPeakMemory();
    return;
  }
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // no such file
  }
}

/** Most resident memory since then. */
function peak() {
  if (device !== 'cpu') return { mb: native.memory().peakBytes / 2 ** 20 };
  try {
    const [, kib] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
    return { mb: Number(kib) / 1024 };
  } catch {
    return { mb: process.resourceUsage().maxRSS / 1024 };
  }
}
