// One side of a comparison: a process that answers one JSON line with another.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of running) child.kill();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
}

export class Child {
  #process;
  #lines;
  #errors = '';

  /** @param name what messages call it; @param threads that its products use */
  constructor(name, command, args, threads) {
    this.name = name;
    this.#process = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, OMP_NUM_THREADS: String(threads) },
    });
    running.add(this.#process);
    this.#process.on('error', (error) => (this.#errors += error.message));
    this.#process.on('close', () => running.delete(this.#process));
    this.#process.stdin.on('error', () => undefined); // it has ended: `ask` says so
    this.#process.stderr.on('data', (data) => (this.#errors = (this.#errors + data).slice(-4000)));
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** The answer to a request; throws what the process wrote to stderr if it ended instead. */
  async ask(request) {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) {
        const why = this.#process.signalCode === 'SIGKILL' ? 'it was killed, as when memory runs out' : '';
        throw new PeerError(
          `${this.name} ended at ${JSON.stringify(request)}: ${why}\n${this.#errors.trim()}`,
        );
      }
      if (!value.startsWith('{')) continue; // libraries print
      const answer = JSON.parse(value);
      if (answer.error) throw new PeerError(`${this.name}: ${answer.error}`);
      return answer;
    }
  }

  async stop() {
    this.#process.stdin.end();
    if (running.has(this.#process)) await new Promise((resolve) => this.#process.once('close', resolve));
  }
}

export class PeerError extends Error {
  name = 'PeerError';
}
