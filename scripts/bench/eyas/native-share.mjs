// Time inside the addon. Import this before anything that calls it: the functions are wrapped in place.

import { native } from '../../../dist/native.js';

let inside;
const byName = new Map();

function timed(call, name) {
  return function (...args) {
    if (inside === undefined) return Reflect.apply(call, this, args);
    const started = performance.now();
    try {
      return Reflect.apply(call, this, args);
    } finally {
      const spent = performance.now() - started;
      inside += spent;
      const { calls, ms } = byName.get(name) ?? { calls: 0, ms: 0 };
      byName.set(name, { calls: calls + 1, ms: ms + spent });
    }
  };
}

const { prototype } = native.NativeTensor;
for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
  if (typeof value === 'function' && name !== 'constructor') {
    Object.defineProperty(prototype, name, { value: timed(value, name), configurable: true, writable: true });
  }
}
for (const [name, value] of Object.entries(native)) {
  if (typeof value === 'function' && name !== 'NativeTensor') native[name] = timed(value, name);
}

/**
 * Seconds of a synchronous function, and how many of them were not spent in the addon.
 * @returns `{ total, outside, calls }`, the calls by name: `{ calls, ms }`
 */
export function secondsOutsideNative(body) {
  inside = 0;
  byName.clear();
  const started = performance.now();
  body();
  const total = performance.now() - started;
  const outside = total - inside;
  inside = undefined;
  return { total: total / 1000, outside: outside / 1000, calls: Object.fromEntries(byName) };
}
