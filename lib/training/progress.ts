import { MultiBar, type SingleBar } from 'cli-progress';

/** What a training run says after an optimizer step. */
export interface ProgressUpdate {
  step: number;
  totalSteps: number;
  /** Weighted sum over the training-time-test steps. */
  loss: number;
  /** Accuracy of every training-time-test step, 0 to 1. */
  accuracy: readonly number[];
  /** Of the records, since the run was started or resumed. */
  tokensPerSecond: number;
  /** Seconds until the last step. */
  etaSeconds: number;
}

/** Shows how a long job stands. */
export interface Progress {
  /** A training step. */
  step(update: ProgressUpdate): void;
  /** Anything else that is counted: records read, answers decoded … */
  count(phase: string, done: number, total: number): void;
  /** A line of its own. */
  message(line: string): void;
  stop(): void;
}

/** Between two log lines where there is no terminal. */
const LOG_INTERVAL_MS = 5000;

/** A bar on a terminal, log lines elsewhere. */
export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY ? new BarProgress(stream) : new LogProgress(stream);
}

/** `loss 2.134  acc 0.71 0.62 0.55  812 tok/s  eta 1:05` */
export function describeStep(update: ProgressUpdate): string {
  const accuracy = update.accuracy.map((value) => value.toFixed(2)).join(' ');
  return (
    `loss ${update.loss.toFixed(3)}  acc ${accuracy}  ${Math.round(update.tokensPerSecond)} tok/s  ` +
    `eta ${formatSeconds(update.etaSeconds)}`
  );
}

/** `accept length 2.31  loss 1.204  acc 0.71 0.62 0.55`, from the metrics of an evaluation. */
export function describeMetrics(metrics: Readonly<Record<string, number>>): string {
  const accuracy: string[] = [];
  for (let s = 0; metrics[`accuracy/${s}`] !== undefined; s++)
    accuracy.push(metrics[`accuracy/${s}`]!.toFixed(2));
  const parts = [
    metrics['acceptLength'] === undefined ? '' : `accept length ${metrics['acceptLength'].toFixed(2)}`,
    metrics['loss'] === undefined ? '' : `loss ${metrics['loss'].toFixed(3)}`,
    accuracy.length === 0 ? '' : `acc ${accuracy.join(' ')}`,
  ];
  return parts.filter(Boolean).join('  ');
}

/** `59 s`, `1:05`, `2:00:10` */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (value: number): string => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

class BarProgress implements Progress {
  readonly #bars: MultiBar;
  #bar: SingleBar | undefined;
  #phase = '';

  constructor(stream: NodeJS.WriteStream) {
    this.#bars = new MultiBar({
      stream,
      format: '{phase} [{bar}] {value}/{total}  {detail}',
      barsize: 24,
      hideCursor: true,
      gracefulExit: false,
      fps: 10,
    });
  }

  step(update: ProgressUpdate): void {
    this.#show('train', update.step, update.totalSteps, describeStep(update));
  }

  count(phase: string, done: number, total: number): void {
    this.#show(phase, done, total, '');
  }

  message(line: string): void {
    this.#bars.log(`${line}\n`);
    this.#bars.update();
  }

  stop(): void {
    this.#bars.update();
    this.#bars.stop();
  }

  #show(phase: string, value: number, total: number, detail: string): void {
    if (this.#bar && this.#phase !== phase) {
      this.#bars.remove(this.#bar);
      this.#bar = undefined;
    }
    this.#phase = phase;
    this.#bar ??= this.#bars.create(total, value, { phase, detail });
    this.#bar.setTotal(total);
    this.#bar.update(value, { phase, detail });
  }
}

class LogProgress implements Progress {
  #last = 0;
  #phase = '';

  constructor(private readonly stream: NodeJS.WritableStream) {}

  step(update: ProgressUpdate): void {
    if (!this.#isDue('train', update.step, update.totalSteps)) return;
    this.message(`step ${update.step}/${update.totalSteps}  ${describeStep(update)}`);
  }

  count(phase: string, done: number, total: number): void {
    if (this.#isDue(phase, done, total)) this.message(`${phase} ${done}/${total}`);
  }

  message(line: string): void {
    this.stream.write(`${line}\n`);
  }

  stop(): void {
    // Every line is complete.
  }

  /** The first and the last of a phase, and one in every interval between them. */
  #isDue(phase: string, done: number, total: number): boolean {
    const now = Date.now();
    if (this.#phase === phase && done < total && now - this.#last < LOG_INTERVAL_MS) return false;
    this.#phase = phase;
    this.#last = now;
    return true;
  }
}
