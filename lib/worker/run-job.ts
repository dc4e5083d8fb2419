import { Worker } from 'node:worker_threads';
import '../wait-policy.js';
import { stopError } from './job.js';
import { fromPlainError, type StopMessage, type WorkerInput, type WorkerMessage } from './protocol.js';

export interface RunJobOptions<Event> {
  onEvent?: ((event: Event) => void) | undefined;
  /**
   * Asks the job to stop. It ends where it can: `train` saves a checkpoint and gives its result, others reject with an
   * `AbortError`.
   */
  signal?: AbortSignal | undefined;
}

// Node runs no TypeScript: when this file is one (tests), its compiled form stands in.
const compiled = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/worker/', import.meta.url)
  : new URL('./', import.meta.url);

/** URL of the module of a job in `lib/jobs/`. */
export function jobModule(name: string): URL {
  return new URL(`../jobs/${name}.js`, compiled);
}

/**
 * Runs a job's module in a worker thread, so that the caller's event loop stays free.
 * @param module exports `run`, see `Job`
 * @param payload structured-cloneable
 * @throws what the job throws, with its name, message, stack, code and cause
 */
export function runModule<Event, Result>(
  module: URL,
  payload: unknown,
  { onEvent, signal }: RunJobOptions<Event> = {},
): Promise<Result> {
  if (signal?.aborted) return Promise.reject(stopError());
  return new Promise<Result>((resolve, reject) => {
    const flag = new Int32Array(new SharedArrayBuffer(4));
    const input: WorkerInput = { module: module.href, payload, stopFlag: flag.buffer };
    const worker = new Worker(new URL('worker.js', compiled), { workerData: input });

    const requestStop = (): void => {
      Atomics.store(flag, 0, 1);
      worker.postMessage({ type: 'stop' } satisfies StopMessage);
    };
    let settled = false;
    const settle = (finish: () => void): void => {
      if (settled) return;
      settled = true;
      signal?.removeEventListener('abort', requestStop);
      // Handles that the job has left open must not keep its thread.
      void worker.terminate().then(finish, reject);
    };
    signal?.addEventListener('abort', requestStop, { once: true });

    worker.on('message', (message: WorkerMessage) => {
      if (message.type === 'event') {
        try {
          onEvent?.(message.event as Event);
        } catch (thrown) {
          settle(() => {
            reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
          });
        }
      } else if (message.type === 'result') {
        settle(() => {
          resolve(message.result as Result);
        });
      } else {
        settle(() => {
          reject(fromPlainError(message.error));
        });
      }
    });
    worker.on('error', (error: Error) => {
      settle(() => {
        reject(error);
      });
    });
    worker.on('exit', (code) => {
      settle(() => {
        reject(new Error(`${module.pathname}: the worker ended with code ${code} before its result`));
      });
    });
  });
}
