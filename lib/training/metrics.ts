import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** One line of a metrics file. `step` is the optimizer step it belongs to. */
export interface MetricsRecord {
  step: number;
  [name: string]: number | string | boolean | readonly number[] | Record<string, number> | undefined;
}

/**
 * Appends metrics to a JSONL file, one object a line, each written through at once.
 *
 * A resumed run takes its steps again from the checkpoint on, so lines of later steps are cut off first: no step
 * appears twice. Write everything of a step before its checkpoint is saved.
 */
export class MetricsWriter {
  readonly #fd: number;

  /** @param resumeStep last step whose lines are kept; 0 starts an empty file */
  constructor(
    readonly file: string,
    resumeStep = 0,
  ) {
    mkdirSync(dirname(file), { recursive: true });
    const kept = existsSync(file) ? keptBytes(readFileSync(file), resumeStep) : 0;
    // Not 'a': Linux appends whatever the position, and the file is cut first.
    this.#fd = openSync(file, existsSync(file) ? 'r+' : 'w');
    ftruncateSync(this.#fd, kept);
    this.#position = kept;
  }

  #position: number;

  write(record: MetricsRecord): void {
    this.#position += writeSync(this.#fd, `${JSON.stringify(record, finite)}\n`, this.#position);
  }

  /** Waits until everything written is on disk. */
  sync(): void {
    fsyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** JSON has no NaN and no infinities: they are written by name. */
function finite(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

/** Length of the lines up to the first that is later than a step, or that a kill cut short. */
function keptBytes(content: Buffer, step: number): number {
  let start = 0;
  if (step === 0) return 0;
  for (let end; (end = content.indexOf('\n', start)) >= 0; start = end + 1) {
    try {
      const record = JSON.parse(content.toString('utf8', start, end)) as MetricsRecord;
      if (record.step > step) break;
    } catch {
      break;
    }
  }
  return start;
}
