// One side of a comparison that does what the tests of the protocol need.
import { writeFileSync } from 'node:fs';
import { serve } from '../../../scripts/bench/harness/serve.mjs';

let held;

await serve({
  add: ({ a, b }) => ({ sum: a + b }),
  nothing: () => undefined,
  later: async ({ value }) => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    return { value };
  },
  print() {
    console.log('a library says hello\n\n[1, 2]');
    return { printed: true };
  },
  threads: () => ({ threads: process.env.OMP_NUM_THREADS }),
  fail() {
    throw new RangeError('no such row');
  },
  exit({ code, noise = 0, text }) {
    writeFileSync(2, 'x'.repeat(noise) + text);
    process.exit(code);
  },
  signal({ name }) {
    process.kill(process.pid, name);
    return new Promise(() => undefined);
  },
  hold({ mb }) {
    held = Buffer.alloc(mb << 20, 1);
    return { held: held.length };
  },
  async release() {
    held = undefined;
    for (let i = 0; i < 3; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  },
});
