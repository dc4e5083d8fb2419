import { open, stat } from 'node:fs/promises';
import {
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type AsyncBuffer,
  type FileMetaData,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { isObject } from '../hub/files.js';
import { EmbeddedMedia } from './media-source.js';
import { RecordError } from './record-error.js';

/** A row of a table. */
export interface Row {
  /** Counted from 1. */
  number: number;
  /**
   * The row as JSON would have it, without fields that are null; bytes are {@link EmbeddedMedia}.
   *
   * @throws RecordError where a text is no UTF-8
   */
  value: () => Record<string, unknown>;
}

/** Stands for a text that is no UTF-8: an error here would lose the whole row group. */
const INVALID_TEXT = Symbol('invalid UTF-8');

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeText(bytes: Uint8Array | undefined): string | symbol | undefined {
  try {
    return bytes && decoder.decode(bytes);
  } catch {
    return INVALID_TEXT;
  }
}

/** A file as hyparquet reads it. */
async function fileBuffer(file: string): Promise<AsyncBuffer> {
  const { size } = await stat(file);
  return {
    byteLength: size,
    async slice(start, end = size) {
      const bytes = new Uint8Array(end - start);
      const handle = await open(file);
      try {
        for (let done = 0; done < bytes.length;) {
          const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
          if (bytesRead === 0) throw new Error(`the file ends at byte ${start + done}`);
          done += bytesRead;
        }
      } finally {
        await handle.close();
      }
      return bytes.buffer;
    },
  };
}

/** Rows `[start, end)` of a file, counted from 0, that are stored together. */
interface RowGroup {
  file: string;
  buffer: AsyncBuffer;
  metadata: FileMetaData;
  start: number;
  end: number;
}

async function readColumns(group: RowGroup, columns: string[]): Promise<Record<string, unknown>[]> {
  const { file, buffer, metadata, start, end } = group;
  try {
    return await parquetReadObjects({
      file: buffer,
      metadata,
      columns,
      rowStart: start,
      rowEnd: end,
      compressors,
      utf8: false,
      parsers: { stringFromBytes: decodeText, jsonFromBytes: decodeText },
    });
  } catch (error) {
    throw new Error(`${file}: rows ${start + 1} to ${end} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

type Path = readonly (string | number)[];

function valueAt(root: unknown, path: Path): unknown {
  return path.reduce(
    (value: unknown, key) => (value as Record<string | number, unknown> | undefined)?.[key],
    root,
  );
}

/** Reads tables of records. Of all that it has read, it keeps one column of one row group at most. */
export class ParquetReader {
  /** What {@link EmbeddedMedia} of neighbouring rows are read from. */
  #kept: { group: RowGroup; column: string; rows: Promise<Record<string, unknown>[]> } | undefined;

  /**
   * Rows of a file, one row group at a time.
   *
   * @param columns those that are read, as far as the file has them
   * @throws if the file is no parquet file, or damaged
   */
  async *rows(file: string, columns: readonly string[]): AsyncGenerator<Row> {
    const buffer = await fileBuffer(file);
    const metadata = await parquetMetadataAsync(buffer).catch((error: unknown) => {
      throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
    });
    const present = parquetSchema(metadata).children.map(({ element }) => element.name);
    const used = present.filter((name) => columns.includes(name));
    if (used.length === 0) {
      throw new Error(
        `${file}: expected columns ${columns.join(', ')}, received ${present.join(', ') || 'none'}`,
      );
    }
    let start = 0;
    for (const { num_rows: count } of metadata.row_groups) {
      const group = { file, buffer, metadata, start, end: start + Number(count) };
      const rows = group.end > start ? await readColumns(group, used) : [];
      for (const [i, row] of rows.entries()) {
        const number = start + i + 1;
        yield { number, value: () => this.#plain(group, number, [], row) as Record<string, unknown> };
      }
      start = group.end;
    }
  }

  /** A value as JSON would have it. */
  #plain(group: RowGroup, row: number, path: Path, value: unknown): unknown {
    const where = `${group.file}:${row}`;
    const child = (key: string | number, field: unknown) => this.#plain(group, row, [...path, key], field);
    if (value === INVALID_TEXT) throw new RecordError(where, `${path.join('.')}: invalid UTF-8`);
    // Integers that no number holds keep their digits.
    if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
    if (value instanceof Uint8Array)
      return new EmbeddedMedia(value, where, () => this.#readBytes(group, row, path));
    if (value instanceof Date) return value.toJSON();
    if (ArrayBuffer.isView(value)) return Array.from(value as Float32Array, (field, i) => child(i, field));
    if (Array.isArray(value)) return value.map((field, i) => child(i, field));
    if (!isObject(value)) return value ?? null;
    const fields = Object.entries(value).filter(([, field]) => field !== null && field !== undefined);
    // A struct that is null and one whose fields are look the same.
    if (fields.length === 0 && path.length > 0) return null;
    return Object.fromEntries(fields.map(([key, field]) => [key, child(key, field)]));
  }

  async #readBytes(group: RowGroup, row: number, path: Path): Promise<Uint8Array> {
    const column = String(path[0]);
    if (this.#kept?.group !== group || this.#kept.column !== column) {
      this.#kept = { group, column, rows: readColumns(group, [column]) };
    }
    const rows = await this.#kept.rows;
    const bytes = valueAt(rows[row - 1 - group.start], path);
    if (bytes instanceof Uint8Array) return bytes;
    throw new Error(`${path.join('.')} no longer holds bytes: the file has changed`);
  }
}
