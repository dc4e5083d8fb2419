import { createHash } from 'node:crypto';
import type { ConversationRecord, Processor, Sample } from '../models/target.js';

export interface SampleStoreOptions {
  /** Longer samples are dropped and counted; they are never cut. */
  maxLength: number;
  /** What a record that its processor refuses does. */
  onBadRecord: 'fail' | 'skip';
  /** Keep samples in which no token is supervised; they are dropped and counted otherwise. */
  keepUnsupervised?: boolean;
  /** Processed samples are kept in memory up to this many bytes, and made again beyond it. */
  cacheBytes?: number;
  onProgress?: (done: number, total: number) => void;
  stopRequested?: () => boolean;
}

/** Records that took no part, and why. */
export interface DropReport {
  tooLong: number;
  unsupervised: number;
  bad: { where: string; reason: string }[];
}

const CONCURRENCY = 4;

/** Processed records, in order. Each is processed once to learn its length and tokens, and again only when it was not kept. */
export class SampleStore {
  readonly lengths: number[] = [];
  readonly dropped: DropReport = { tooLong: 0, unsupervised: 0, bad: [] };
  readonly #records: ConversationRecord[] = [];
  readonly #kept: (Sample | undefined)[] = [];
  readonly #hash = createHash('sha256');
  #room: number;

  private constructor(
    readonly processor: Processor,
    options: SampleStoreOptions,
  ) {
    this.#room = options.cacheBytes ?? 2 ** 30;
  }

  /** Processes all records; `visit` sees every sample that is kept, in order. */
  static async build(
    records: readonly ConversationRecord[],
    processor: Processor,
    options: SampleStoreOptions,
    visit: (sample: Sample) => void = () => undefined,
  ): Promise<SampleStore> {
    const store = new SampleStore(processor, options);
    for (let start = 0; start < records.length; start += CONCURRENCY) {
      if (options.stopRequested?.()) break;
      const group = records.slice(start, start + CONCURRENCY);
      const outcomes = await Promise.allSettled(group.map((record) => processor.process(record)));
      outcomes.forEach((outcome, i) => {
        const record = group[i]!;
        if (outcome.status === 'fulfilled') {
          if (store.#accept(record, outcome.value, options)) visit(outcome.value);
          return;
        }
        const { message } = outcome.reason as Error;
        const reason = message.startsWith(record.where) ? message.slice(record.where.length + 2) : message;
        if (options.onBadRecord === 'fail') throw new Error(`${record.where}: ${reason}`);
        store.dropped.bad.push({ where: record.where, reason });
      });
      options.onProgress?.(Math.min(start + CONCURRENCY, records.length), records.length);
    }
    return store;
  }

  get size(): number {
    return this.lengths.length;
  }

  /** sha256 of the tokens and masks of all samples. */
  fingerprint(): string {
    return this.#hash.copy().digest('hex');
  }

  async get(index: number): Promise<Sample> {
    return this.#kept[index] ?? (await this.processor.process(this.#records[index]!));
  }

  #accept(record: ConversationRecord, sample: Sample, options: SampleStoreOptions): boolean {
    const length = sample.inputIds.length;
    if (length > options.maxLength) {
      this.dropped.tooLong += 1;
      return false;
    }
    if (!options.keepUnsupervised && !sample.lossMask.includes(1)) {
      this.dropped.unsupervised += 1;
      return false;
    }
    this.#hash.update(sample.inputIds).update(sample.lossMask);
    const bytes = sampleBytes(sample);
    const keep = bytes <= this.#room;
    if (keep) this.#room -= bytes;
    this.lengths.push(length);
    this.#records.push(record);
    this.#kept.push(keep ? sample : undefined);
    return true;
  }
}

function sampleBytes(sample: Sample): number {
  const fields: unknown[] = [sample, ...sample.media].flatMap((part) => Object.values(part) as unknown[]);
  return fields.reduce((sum: number, value) => sum + (ArrayBuffer.isView(value) ? value.byteLength : 0), 0);
}
