import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { crc32c } from '../../lib/training/crc32c.js';
import { TensorBoardWriter } from '../../lib/training/tensorboard.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'eyas-tensorboard-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

/** A message as a list of fields; nothing here is shared with the writer. */
type Field = [number: number, value: number | Buffer];

function decodeMessage(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++]!;
      value += (byte % 128) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const field = Math.floor(key / 8);
    if (key % 8 === 0) fields.push([field, varint()]);
    else if (key % 8 === 1) fields.push([field, bytes.readDoubleLE((at += 8) - 8)]);
    else if (key % 8 === 5) fields.push([field, bytes.readFloatLE((at += 4) - 4)]);
    else if (key % 8 === 2) {
      const length = varint();
      fields.push([field, bytes.subarray(at, (at += length))]);
    } else throw new Error(`wire type ${key % 8}`);
  }
  expect(at).toBe(bytes.length);
  return fields;
}

const one = (fields: Field[], number: number): number | Buffer | undefined =>
  fields.find(([field]) => field === number)?.[1];
const inside = (fields: Field[], number: number): Field[] => decodeMessage(one(fields, number) as Buffer);

/** CRC-32C bit by bit, as the standard words it, then the mask of the TFRecord format. */
function maskedChecksum(bytes: Buffer): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  crc ^= 0xffffffffn;
  const rotated = (crc >> 15n) | ((crc << 17n) & 0xffffffffn);
  return Number((rotated + 0xa282ead8n) & 0xffffffffn);
}

function readEvents(file: string): Field[][] {
  const bytes = readFileSync(file);
  const events: Field[][] = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(maskedChecksum(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(maskedChecksum(data));
    events.push(decodeMessage(data));
    at += 16 + length;
  }
  return events;
}

describe('crc32c', () => {
  it('has the check value of the standard', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array())).toBe(0);
  });
});

describe('TensorBoardWriter', () => {
  it('writes events that decode to what was logged', () => {
    const writer = new TensorBoardWriter(dir);
    writer.scalars(1, { 'train/loss': 2.5, 'train/accuracy/0': 0.125 });
    writer.scalars(300, { 'train/loss': Number.NaN });
    writer.scalars(301, {});
    writer.text(300, 'config', 'größer');
    writer.sync();
    writer.close();

    expect(readdirSync(dir)).toEqual([expect.stringMatching(/^events\.out\.tfevents\.\d{10}\./) as string]);
    const [version, first, second, text, ...rest] = readEvents(writer.file);
    expect(rest).toEqual([]);
    expect(String(one(version!, 3))).toBe('brain.Event:2');
    expect(Math.abs((one(first!, 1) as number) - Date.now() / 1000)).toBeLessThan(60);
    expect(one(first!, 2)).toBe(1);
    const values = inside(first!, 5).map(([field, value]) => {
      expect(field).toBe(1);
      const entry = decodeMessage(value as Buffer);
      return [String(one(entry, 1)), one(entry, 2)];
    });
    expect(values).toEqual([
      ['train/loss', 2.5],
      ['train/accuracy/0', 0.125],
    ]);
    expect(one(second!, 2)).toBe(300);
    expect(one(inside(inside(second!, 5), 1), 2)).toBeNaN();
    const value = inside(inside(text!, 5), 1);
    expect(String(one(value, 1))).toBe('config');
    expect(String(one(inside(inside(value, 9), 1), 1))).toBe('text');
    expect(String(one(inside(value, 8), 8))).toBe('größer');
  });

  it('tells readers where a resumed run takes over', () => {
    const writer = new TensorBoardWriter(dir, 41);
    writer.close();
    const [, start] = readEvents(writer.file);
    expect(one(start!, 2)).toBe(42);
    expect(one(inside(start!, 7), 1)).toBe(1);
  });

  it('gives every writer a file of its own', () => {
    const writers = [new TensorBoardWriter(dir), new TensorBoardWriter(dir)];
    for (const writer of writers) writer.close();
    expect(readdirSync(dir)).toHaveLength(2);
  });

  // A Python that has tensorboard: an oracle for those who have one, never needed.
  const python = process.env['EYAS_TENSORBOARD_PYTHON'] ?? '';

  it.skipIf(python === '')('is read by TensorBoard itself, which forgets what a resume overwrites', () => {
    const first = new TensorBoardWriter(dir);
    for (let step = 1; step <= 8; step++) first.scalars(step, { loss: step });
    first.text(1, 'config', 'steps: 8');
    first.close();
    const second = new TensorBoardWriter(dir, 5);
    for (let step = 6; step <= 7; step++) second.scalars(step, { loss: 10 * step });
    second.close();
    const script = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]); events.Reload()
print(json.dumps({
  'loss': [[e.step, e.value] for e in events.Scalars('loss')],
  'text': events.Tensors('config/text_summary' if 'config/text_summary' in events.Tags()['tensors'] else 'config')[0].tensor_proto.string_val[0].decode(),
}))`;
    const { stdout, stderr } = spawnSync(python, ['-c', script, dir], { encoding: 'utf8' });
    expect(stdout, stderr).not.toBe('');
    expect(JSON.parse(stdout.trim().split('\n').at(-1)!)).toEqual({
      loss: [
        [1, 1],
        [2, 2],
        [3, 3],
        [4, 4],
        [5, 5],
        [6, 60],
        [7, 70],
      ],
      text: 'steps: 8',
    });
  });
});
