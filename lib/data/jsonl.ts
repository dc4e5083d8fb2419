import { createReadStream } from 'node:fs';
import { findJsonProblem, lineAndColumn } from '../hub/json.js';
import { parseRecordText } from './exact-json.js';
import { RecordError } from './record-error.js';

/** A line of a file that is not blank, or another piece of it that holds one record. */
export interface Line {
  /** Counted from 1. */
  number: number;
  bytes: Buffer;
  /** Of its first byte in the file. */
  offset: number;
}

/** What is longer is no record; a string could not hold much more. */
export const MAX_RECORD_BYTES = 256 * 1024 * 1024;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = Buffer.from('\uFEFF');

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === CARRIAGE_RETURN);
}

function toLine(bytes: Buffer, number: number, offset: number): Line {
  const mark = number === 1 && bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? 3 : 0;
  const end = bytes.at(-1) === CARRIAGE_RETURN ? bytes.length - 1 : bytes.length;
  return { number, bytes: bytes.subarray(mark, Math.max(mark, end)), offset: offset + mark };
}

/**
 * Lines of a file, streamed. A byte order mark, CRLF ends, blank lines and a missing last line end are no part of
 * what is yielded.
 *
 * @throws {@link RecordError} for a line of more than 256 MiB
 */
export async function* readLines(file: string): AsyncGenerator<Line> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let number = 1;
  let lineStart = 0;
  const take = (last: Buffer): Line => {
    const bytes = pending.length > 0 ? Buffer.concat([...pending, last]) : last;
    const line = toLine(bytes, number, lineStart);
    pending = [];
    pendingBytes = 0;
    number++;
    lineStart += bytes.length + 1;
    return line;
  };
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let at = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, at)) {
      const line = take(chunk.subarray(at, end));
      if (!isBlank(line.bytes)) yield line;
      at = end + 1;
    }
    if (at < chunk.length) {
      pending.push(chunk.subarray(at));
      pendingBytes += chunk.length - at;
    }
    if (pendingBytes > MAX_RECORD_BYTES) {
      throw new RecordError(`${file}:${number}`, `the line is longer than ${MAX_RECORD_BYTES} bytes`);
    }
  }
  if (pendingBytes > 0) {
    const line = take(Buffer.alloc(0));
    if (!isBlank(line.bytes)) yield line;
  }
}

/** Index of the first byte that is not UTF-8, or the length where a sequence is cut off at the end. */
function firstInvalidByte(bytes: Uint8Array): number {
  const isValid = (length: number): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let [valid, invalid] = [0, bytes.length + 1];
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (middle <= bytes.length && isValid(middle)) valid = middle;
    else invalid = middle;
  }
  return valid;
}

/** What is wrong with a text that `JSON.parse` refuses with `error`. */
export function describeJsonProblem(text: string, error: unknown): string {
  const problem = findJsonProblem(text);
  if (!problem) return `invalid JSON at ${(error as Error).message}`;
  const { line, column } = lineAndColumn(text, problem.offset);
  const place = line === 1 ? `column ${column}` : `line ${line}, column ${column} of the record`;
  return `invalid JSON at ${place}: ${problem.reason}`;
}

/** Parses a line, or a text of several. Errors name the column, or the byte of the file that is not UTF-8. */
export function parseLine(line: Line, where: string): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line.bytes);
  } catch (error) {
    const byte = line.offset + firstInvalidByte(line.bytes);
    throw new RecordError(where, `invalid UTF-8 at byte ${byte} of the file`, { cause: error });
  }
  try {
    return parseRecordText(text);
  } catch (error) {
    throw new RecordError(where, describeJsonProblem(text, error), { cause: error });
  }
}
