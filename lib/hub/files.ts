import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { findJsonProblem, lineAndColumn } from './json.js';

/** One system call takes less than 2 GiB. */
const WRITE_CHUNK = 1 << 30;

/** Writes all bytes at a position of an open file; returns their number. */
export function writeAll(fd: number, bytes: Uint8Array, position: number): number {
  for (let done = 0; done < bytes.byteLength;) {
    const length = Math.min(WRITE_CHUNK, bytes.byteLength - done);
    done += writeSync(fd, bytes, done, length, position + done);
  }
  return bytes.byteLength;
}

function syncDirectory(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Writes a file by `body` so that a reader, and a crash at any moment, sees the old file or the whole new one: a
 * temporary file beside it is written, flushed to the disk and renamed, and the rename is flushed too.
 */
export function replaceFile(path: string, body: (fd: number) => void): void {
  const directory = dirname(path);
  const temporary = join(directory, `.tmp-${basename(path)}-${randomBytes(6).toString('hex')}`);
  try {
    const fd = openSync(temporary, 'wx');
    try {
      body(fd);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(directory);
}

/** {@link replaceFile} for data that is at hand. */
export function writeFileAtomic(path: string, data: string | Uint8Array): void {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  replaceFile(path, (fd) => writeAll(fd, bytes, 0));
}

/** Parses JSON; an error names `source` with line and column. */
export function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const problem = findJsonProblem(text);
    if (problem === undefined) throw error;
    const { line, column } = lineAndColumn(text, problem.offset);
    throw new Error(`${source}:${line}:${column}: invalid JSON: ${problem.reason}`, { cause: error });
  }
}

/** Reads a JSON file; errors name the file, line and column. */
export function readJson(path: string): unknown {
  return parseJson(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''), path);
}

/** Whether a value is an object that is not an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** {@link readJson} for a file that must hold an object. */
export function readJsonObject(path: string): Record<string, unknown> {
  const value = readJson(path);
  if (!isObject(value)) throw new Error(`${path}: expected a JSON object, received ${describe(value)}`);
  return value;
}

/** A value in words, for messages. */
export function describe(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
