import { extname } from 'node:path';
import { isJsonArray, readElements } from './json-array.js';
import { parseLine, readLines, type Line } from './jsonl.js';
import { ParquetReader } from './parquet.js';

/** Where a record lies in a data file. */
export interface Entry {
  /** `file:line`; the row of a table, the place in an array. */
  where: string;
  /** `line-3`, `row-3`, `item-3` */
  name: string;
  /** @throws RecordError where it cannot be read */
  value: () => unknown;
}

/** Columns of a table that records are read from. */
const COLUMNS = [
  'id',
  'messages',
  'conversations',
  'system',
  'tools',
  ...['image', 'video', 'audio'].flatMap((kind) => [kind, `${kind}s`]),
];

async function* jsonEntries(file: string, unit: string, lines: AsyncIterable<Line>): AsyncGenerator<Entry> {
  for await (const line of lines) {
    const where = `${file}:${line.number}`;
    yield { where, name: `${unit}-${line.number}`, value: () => parseLine(line, where) };
  }
}

/** Reads what is in data files, by the ends of their names. */
export class DataFiles {
  readonly #parquet = new ParquetReader();

  /**
   * Entries of a file, streamed.
   *
   * @throws if it cannot be read, or is named otherwise than `.jsonl`, `.json` or `.parquet`
   */
  async *entries(file: string): AsyncGenerator<Entry> {
    const type = extname(file).toLowerCase();
    if (type === '.parquet') {
      yield* this.#rows(file);
    } else if (type === '.json' && (await isJsonArray(file))) {
      yield* jsonEntries(file, 'item', readElements(file));
    } else if (type === '.jsonl' || type === '.json') {
      yield* jsonEntries(file, 'line', readLines(file));
    } else {
      throw new Error(
        `${file}: expected a data file named .jsonl, .json or .parquet, received ${type || 'no ending'}`,
      );
    }
  }

  async *#rows(file: string): AsyncGenerator<Entry> {
    for await (const { number, value } of this.#parquet.rows(file, COLUMNS)) {
      yield { where: `${file}:${number}`, name: `row-${number}`, value };
    }
  }
}
