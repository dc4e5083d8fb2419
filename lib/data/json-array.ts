import { createReadStream } from 'node:fs';
import { MAX_RECORD_BYTES, type Line } from './jsonl.js';
import { RecordError } from './record-error.js';

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const OPENING = new Set(Buffer.from('[{'));
const CLOSING = new Set(Buffer.from(']}'));
const SPACE = new Set(Buffer.from(' \t\r\n\uFEFF'));

/** Whether a file holds a JSON array: its first byte that is not white space is a bracket. */
export async function isJsonArray(file: string): Promise<boolean> {
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    const first = chunk.find((byte) => !SPACE.has(byte));
    if (first !== undefined) return first === 0x5b;
  }
  return false;
}

/**
 * Elements of a file that holds one JSON array, streamed; `number` counts them from 1. What is between the commas is
 * cut out and not parsed.
 *
 * @throws {@link RecordError} for an element of more than 256 MiB; an error where the array does not end, or is not
 *   the last thing in the file
 */
export async function* readElements(file: string): AsyncGenerator<Line> {
  let depth = 0;
  let inString = false;
  let escaped = false;
  let isOver = false;
  let number = 1;
  /** The element so far: parts of it, and where it begins in the file. */
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let offset = 0;
  let chunkStart = 0;
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let from = depth > 0 ? 0 : chunk.length;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (isOver && !SPACE.has(byte)) {
        throw new Error(`${file}: expected the end of the file after the array, at byte ${chunkStart + i}`);
      }
      if (byte === QUOTE) inString = true;
      const closes = CLOSING.has(byte) && --depth === 0;
      if (closes || (byte === COMMA && depth === 1)) {
        const bytes = Buffer.concat([...pending, chunk.subarray(from, i)]);
        // Nothing at all is between the brackets of an empty array.
        if (!(closes && number === 1 && bytes.every((b) => SPACE.has(b)))) yield { number, bytes, offset };
        number++;
        pending = [];
        pendingBytes = 0;
        from = i + 1;
        offset = chunkStart + from;
        isOver = closes;
        if (closes) from = chunk.length;
      }
      if (OPENING.has(byte) && ++depth === 1) {
        from = i + 1;
        offset = chunkStart + from;
      }
    }
    if (from < chunk.length) {
      pending.push(chunk.subarray(from));
      pendingBytes += chunk.length - from;
    }
    if (pendingBytes > MAX_RECORD_BYTES) {
      throw new RecordError(`${file}:${number}`, `the record is longer than ${MAX_RECORD_BYTES} bytes`);
    }
    chunkStart += chunk.length;
  }
  if (!isOver) throw new Error(`${file}: the array does not end (in record ${number})`);
}
