import { isStopError } from '../worker/job.js';
import type { JobEvent } from '../worker/jobs.js';
import type { RunOptions } from '../api.js';
import { createProgress, describeMetrics, type Progress } from '../training/progress.js';
import { SIGNAL_EXIT_CODES, StopSignals } from '../training/signals.js';

/**
 * Runs a job with its progress on stderr, and Ctrl-C and SIGTERM turned into a request to stop. After such a signal the
 * process ends with the signal's exit code.
 * @returns undefined if it was stopped without a result
 */
export async function runWithProgress<Result>(
  start: (options: RunOptions) => Promise<Result>,
  onEvent?: (event: JobEvent) => void,
): Promise<Result | undefined> {
  const progress = createProgress();
  const signals = new StopSignals(() => {
    progress.message('stopping; once more ends at once');
  });
  try {
    return await start({
      signal: signals.signal,
      onEvent: (event) => {
        show(event, progress);
        onEvent?.(event);
      },
    });
  } catch (error) {
    if (signals.received === undefined || !isStopError(error)) throw error;
    return undefined;
  } finally {
    progress.stop();
    signals.dispose();
    if (signals.received !== undefined) process.exitCode = SIGNAL_EXIT_CODES[signals.received];
  }
}

function show(event: JobEvent, progress: Progress): void {
  switch (event.type) {
    case 'log':
      progress.message(event.level === 'warn' ? `warning: ${event.message}` : event.message);
      break;
    case 'count':
      progress.count(event.phase, event.done, event.total);
      break;
    case 'step':
      progress.step(event);
      break;
    case 'eval':
      progress.message(`step ${event.step}  eval  ${describeMetrics(event.metrics)}`);
      break;
    case 'checkpoint':
      progress.message(`step ${event.step}  saved ${event.path}${event.best ? ' (best)' : ''}`);
      break;
    case 'text':
      break;
  }
}
