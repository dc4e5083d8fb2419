import type { MediaSource } from '../models/target.js';

/** Something that is wrong with a picture, clip or sound. The message begins with its path, or says it is a data: URI. */
export class MediaError extends Error {
  override readonly name = 'MediaError';
}

function sourceName(source: MediaSource): string {
  return 'path' in source ? source.path : `data: URI of ${source.bytes.byteLength} bytes (${source.mime})`;
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
