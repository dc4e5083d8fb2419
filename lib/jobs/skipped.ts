import type { DropReport } from '../data/sample-store.js';
import type { JobContext } from '../worker/job.js';
import type { JobEvent } from '../worker/jobs.js';

/** Says of every record that is left out where it stands and why. */
export function warnOfSkipped(bad: DropReport['bad'], context: JobContext<JobEvent>): void {
  for (const { where, reason } of bad) {
    context.emit({ type: 'log', level: 'warn', message: `skipped ${where}: ${reason}` });
  }
}
