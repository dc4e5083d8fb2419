import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { maskedCrc32c } from './crc32c.js';

// Protobuf wire types.
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

const tag = (field: number, wire: number): Buffer => varint((field << 3) | wire);

function bytesField(field: number, ...parts: (Uint8Array | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  return Buffer.concat([tag(field, BYTES), varint(body.length), body]);
}

const intField = (field: number, value: number): Buffer => Buffer.concat([tag(field, VARINT), varint(value)]);

function doubleField(field: number, value: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeDoubleLE(value);
  return Buffer.concat([tag(field, FIXED64), body]);
}

function floatField(field: number, value: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeFloatLE(value);
  return Buffer.concat([tag(field, FIXED32), body]);
}

const DT_STRING = 7;
const SESSION_START = 1;
let opened = 0;

/**
 * Writes a TensorBoard event file: TFRecords of `Event` messages (tensorflow/core/util/event.proto), encoded here.
 * Each run of the program has a file of its own in the directory; TensorBoard reads them together.
 */
export class TensorBoardWriter {
  readonly file: string;
  readonly #fd: number;

  /** @param resumeStep a resumed run's step: TensorBoard forgets what earlier files say of later steps */
  constructor(directory: string, resumeStep = 0) {
    mkdirSync(directory, { recursive: true });
    const seconds = Math.floor(Date.now() / 1000);
    const name = `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${opened++}`;
    this.file = join(directory, name);
    this.#fd = openSync(this.file, 'wx');
    this.#event(0, bytesField(3, 'brain.Event:2'));
    if (resumeStep > 0) this.#event(resumeStep + 1, bytesField(7, intField(1, SESSION_START)));
  }

  /** Scalars of one step. */
  scalars(step: number, values: Readonly<Record<string, number>>): void {
    const entries = Object.entries(values);
    if (entries.length === 0) return;
    const summary = entries.map(([name, value]) => bytesField(1, bytesField(1, name), floatField(2, value)));
    this.#event(step, bytesField(5, ...summary));
  }

  /** A text, shown as Markdown. */
  text(step: number, name: string, text: string): void {
    const shape = bytesField(2, bytesField(2, intField(1, 1)));
    const tensor = bytesField(8, intField(1, DT_STRING), shape, bytesField(8, text));
    const metadata = bytesField(9, bytesField(1, bytesField(1, 'text')));
    this.#event(step, bytesField(5, bytesField(1, bytesField(1, name), metadata, tensor)));
  }

  /** Waits until everything written is on disk. */
  sync(): void {
    fsyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** One record: length, its checksum, the event, its checksum. */
  #event(step: number, content: Buffer): void {
    const data = Buffer.concat([doubleField(1, Date.now() / 1000), intField(2, step), content]);
    const record = Buffer.alloc(8 + 4 + data.length + 4);
    record.writeBigUInt64LE(BigInt(data.length));
    record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
    data.copy(record, 12);
    record.writeUInt32LE(maskedCrc32c(data), 12 + data.length);
    writeSync(this.#fd, record);
  }
}
