// Entry of the worker thread: imports the job's module, runs it, and posts what comes out of it.
import { parentPort, workerData } from 'node:worker_threads';
import type { Job, JobContext } from './job.js';
import { stopError } from './job.js';
import { toPlainError, type StopMessage, type WorkerInput, type WorkerMessage } from './protocol.js';

const port = parentPort;
if (!port) throw new Error('worker.js runs in a worker thread: start it with runJob');
const { module, payload, stopFlag } = workerData as WorkerInput;
const flag = new Int32Array(stopFlag);
const stop = new AbortController();

port.on('message', (_stop: StopMessage) => {
  stop.abort(stopError());
});
// Listening must not keep a finished job's thread alive.
port.unref();

const post = (message: WorkerMessage): void => {
  port.postMessage(message);
};

const context: JobContext<unknown> = {
  emit: (event) => {
    post({ type: 'event', event });
  },
  stopRequested: () => Atomics.load(flag, 0) !== 0,
  throwIfStopped: () => {
    if (Atomics.load(flag, 0) !== 0) throw stopError();
  },
  signal: stop.signal,
};

try {
  const { run } = (await import(module)) as { run: Job<unknown, unknown, unknown> };
  post({ type: 'result', result: await run(payload, context) });
} catch (error) {
  post({ type: 'error', error: toPlainError(error) });
}
