import { readFile } from 'node:fs/promises';
import type { MediaSource } from '../models/target.js';

/** Something that is wrong with a picture, clip or sound. The message begins with its path, or says it is a data: URI. */
export class MediaError extends Error {
  override readonly name = 'MediaError';
}

function sourceName(source: MediaSource): string {
  if ('path' in source) return source.path;
  return 'bytes' in source
    ? `data: URI of ${source.bytes.byteLength} bytes (${source.mime})`
    : `${source.name} (${source.mime})`;
}

/** Path of a source that is a file, bytes of every other. */
export async function openSource(source: MediaSource): Promise<string | Uint8Array> {
  if ('path' in source) return source.path;
  return 'bytes' in source ? source.bytes : await source.read();
}

/** Bytes of a source, a file's read whole. */
export async function readSource(source: MediaSource): Promise<Uint8Array> {
  const data = await openSource(source);
  return typeof data === 'string' ? readFile(data) : data;
}

/** Runs `body`; what it throws becomes a {@link MediaError} that names the source. */
export async function atSource<T>(source: MediaSource, body: () => T | Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof MediaError) throw error;
    throw new MediaError(`${sourceName(source)}: ${(error as Error).message}`, { cause: error });
  }
}
