import { clearInterval, setInterval } from 'node:timers';

// Stops when it is asked to, unless it is told to hang.
import { StopSignals } from '../../../dist/training/signals.js';

const hangs = process.argv[2] === 'hang';
const signals = new StopSignals((name) => {
  process.stdout.write(`asked by ${name}\n`);
});
process.stdout.write('ready\n');
const timer = setInterval(() => {
  if (!signals.signal.aborted || hangs) return;
  clearInterval(timer);
  signals.dispose();
  process.exitCode = 42;
}, 5);
