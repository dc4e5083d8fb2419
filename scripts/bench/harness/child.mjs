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
  #closed;

  /** @param name what messages call it; @param threads that its products use; @param device cpu or cuda */
  constructor(name, command, args, threads, device = 'cpu') {
    this.name = name;
    this.#process = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, OMP_NUM_THREADS: String(threads), EYAS_BENCH_DEVICE: device },
    });
    running.add(this.#process);
    this.#process.on('error', (error) => (this.#errors += error.message));
    this.#closed = new Promise((resolve) => this.#process.once('close', resolve));
    void this.#closed.then(() => running.delete(this.#process));
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
        await this.#closed; // stdout may end before the rest of stderr and the exit code are here
        throw new PeerError(
          `${this.name} ended at ${JSON.stringify(request)}: ${this.#why()}\n${this.#errors.trim()}`,
        );
      }
      if (!value.startsWith('{')) continue; // libraries print
      const answer = JSON.parse(value);
      if (answer.error) throw new PeerError(`${this.name}: ${answer.error}`);
      return answer;
    }
  }

  #why() {
    const { signalCode, exitCode } = this.#process;
    if (signalCode === 'SIGKILL') return 'it was killed, as when memory runs out';
    return signalCode ?? `exit code ${exitCode}`;
  }

  async stop() {
    this.#process.stdin.end();
    await this.#closed;
  }
}

export class PeerError extends Error {
  name = 'PeerError';
}
