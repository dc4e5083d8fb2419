import type { DType } from '../native.js';
import { describe, isObject } from './files.js';
import { findJsonProblem } from './json.js';

/** Bits of one element, for every element type of the format. */
const BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** Element types that can become tensors. */
export const LOADABLE: Readonly<Partial<Record<string, DType | 'float16'>>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  BOOL: 'bool',
};

/** Names in files of the element types that are written. */
export const FILE_DTYPES: Readonly<Record<DType, string>> = {
  float32: 'F32',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  bool: 'BOOL',
};

/** The reference implementation's limit. */
export const MAX_HEADER_BYTES = 100_000_000;

/** A tensor as a header describes it; offsets count from the end of the header. */
export interface HeaderEntry {
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

export interface Header {
  tensors: Map<string, HeaderEntry>;
  metadata: Record<string, string>;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCountList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isCount);
}

/** Bytes of a tensor; `undefined` if they are no whole number, or too many to count. */
export function byteLength(dtype: string, shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  const bytes = (elements * BITS[dtype]!) / 8;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

function parseEntry(name: string, value: unknown, file: string): HeaderEntry {
  const fail = (reason: string): never => {
    throw new Error(`${file}: tensor ${JSON.stringify(name)}: ${reason}`);
  };
  if (!isObject(value)) return fail(`expected an object, received ${describe(value)}`);
  const { dtype, shape, data_offsets: offsets, ...rest } = value;
  const extra = Object.keys(rest);
  if (extra.length > 0) return fail(`unknown field ${JSON.stringify(extra[0])}`);
  if (typeof dtype !== 'string' || !Object.hasOwn(BITS, dtype))
    return fail(`unknown dtype ${describe(dtype)}`);
  if (!isCountList(shape))
    return fail(`expected a shape of whole numbers, received ${JSON.stringify(shape)}`);
  if (!isCountList(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    return fail(`expected data_offsets [begin, end], received ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  const expected = byteLength(dtype, shape);
  if (expected !== end - begin) {
    return fail(
      `${dtype} of shape [${shape.join(', ')}] takes ${expected ?? 'no whole number of'} bytes, ` +
        `but data_offsets [${begin}, ${end}] hold ${end - begin}`,
    );
  }
  return { dtype, shape, begin, end };
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (!isObject(value))
    throw new Error(`${file}: expected __metadata__ to be an object, received ${describe(value)}`);
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry === 'string') continue;
    throw new Error(`${file}: expected __metadata__.${key} to be a string, received ${describe(entry)}`);
  }
  return value as Record<string, string>;
}

/** Every byte of the data belongs to exactly one tensor. */
function checkLayout(tensors: ReadonlyMap<string, HeaderEntry>, dataBytes: number, file: string): void {
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  let before = 'the header';
  for (const [name, { begin, end }] of ordered) {
    const here = `tensor ${JSON.stringify(name)}`;
    if (begin < covered) throw new Error(`${file}: ${here} overlaps ${before} at byte ${begin} of the data`);
    if (begin > covered)
      throw new Error(`${file}: bytes ${covered} to ${begin} before ${here} belong to no tensor`);
    covered = end;
    before = here;
  }
  if (covered !== dataBytes) {
    throw new Error(
      `${file}: the tensors take ${covered} bytes, but the file holds ${dataBytes} after its header`,
    );
  }
}

/**
 * Parses and validates the JSON part of a safetensors file, by the rules of the reference implementation: known
 * element types, sizes that fit shapes, no overlap, no hole, nothing after the last tensor.
 *
 * @param json the header's bytes, without the length before them
 * @param dataBytes size of the file after the header
 * @param file name for messages
 */
export function parseHeader(json: Uint8Array, dataBytes: number, file: string): Header {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
  } catch (error) {
    throw new Error(`${file}: the header is not UTF-8`, { cause: error });
  }
  if (!text.startsWith('{')) throw new Error(`${file}: the header is not a JSON object`);
  const problem = findJsonProblem(text);
  if (problem) throw new Error(`${file}: invalid header at character ${problem.offset}: ${problem.reason}`);

  const tensors = new Map<string, HeaderEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(JSON.parse(text) as Record<string, unknown>)) {
    if (name === '__metadata__') metadata = parseMetadata(value, file);
    else tensors.set(name, parseEntry(name, value, file));
  }
  checkLayout(tensors, dataBytes, file);
  return { tensors, metadata };
}

/** A tensor to be written. */
export interface HeaderItem {
  name: string;
  dtype: DType;
  shape: readonly number[];
}

/**
 * Length and header of a file that holds the items' data one after the other in the order given, padded with spaces
 * to a multiple of 8 bytes.
 */
export function encodeHeader(items: readonly HeaderItem[], metadata: Record<string, string> = {}): Buffer {
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push(['__metadata__', metadata]);
  let offset = 0;
  for (const { name, dtype, shape } of items) {
    if (name === '__metadata__') throw new Error('[writeSafetensors] a tensor cannot be named __metadata__');
    const end = offset + byteLength(FILE_DTYPES[dtype], shape)!;
    entries.push([name, { dtype: FILE_DTYPES[dtype], shape: [...shape], data_offsets: [offset, end] }]);
    offset = end;
  }
  // Entries are joined by hand: an object would move names that look like array indices to the front.
  const json = `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
  const unpadded = Buffer.from(json);
  const header = Buffer.alloc(8 + Math.ceil(unpadded.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  unpadded.copy(header, 8);
  return header;
}
