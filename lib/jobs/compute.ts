import { useDevice } from '../device.js';
import type { DeviceName } from '../device-name.js';
import { native } from '../native.js';
import type { JobContext } from '../worker/job.js';
import type { JobEvent } from '../worker/jobs.js';

/** Takes the device and the threads that a job was given. */
export function prepareCompute(
  { device, threads }: { device?: DeviceName | undefined; threads?: number | undefined },
  context: JobContext<JobEvent>,
): void {
  if (threads !== undefined) native.setThreads(threads);
  useDevice(device, (message) => {
    context.emit({ type: 'log', level: 'warn', message });
  });
}
