// Runs that alternate, so that both sides meet the same disturbances.

import { setTimeout } from 'node:timers/promises';

/** Of an even number, the mean of the middle two: the later of two runs alone would be the slowest. */
export function median(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Milliseconds between runs, in which the threads of the side that has run stop spinning. */
const pause = 100;

/** Seconds of a whole comparison after which no further pair of runs is begun (two always are). */
const budget = 240;

/**
 * Medians in milliseconds of two actions, each of which resolves to `{ seconds }`; the first run of each is not counted.
 * @returns `{ eyas_ms, peer_ms, ratio, runs }`, `ratio` being how many times faster eyas is
 */
export async function alternate(ours, theirs, repeat) {
  const times = { eyas: [], peer: [] };
  const started = performance.now();
  for (let i = 0; i <= repeat; i++) {
    const eyas = (await ours()).seconds;
    await setTimeout(pause);
    const peer = (await theirs()).seconds;
    await setTimeout(pause);
    if (i > 0) (times.eyas.push(1000 * eyas), times.peer.push(1000 * peer));
    const spent = (performance.now() - started) / 1000;
    if (i >= 2 && spent + spent / (i + 1) > budget) break;
  }
  const [eyas_ms, peer_ms] = [median(times.eyas), median(times.peer)];
  return { eyas_ms, peer_ms, ratio: peer_ms / eyas_ms, runs: times.eyas.length };
}

/** |a − b| / |b| */
export const relative = (a, b) => Math.abs(a - b) / Math.max(Math.abs(b), 1e-30);

/** Throws where two sides differ by more than rounding explains. */
export function expectEqual(what, difference, bound) {
  if (difference <= bound) return;
  throw new Error(
    `${what}: expected eyas and its peer to differ by at most ${bound}, received ${difference}`,
  );
}
