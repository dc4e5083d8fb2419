import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MediaSource } from '../models/target.js';

export type MediaKind = 'image' | 'video' | 'audio';

export interface MediaOptions {
  /** Directory under which absolute paths, and paths that leave the data file's directory, may be read. */
  mediaRoot?: string;
  /** Fetch http and https URLs; refused if false or absent. */
  allowRemote?: boolean;
}

const REMOTE_LIMIT_BYTES = 64 * 1024 * 1024;
const REMOTE_TIMEOUT_MS = 30_000;

function shorten(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text);
}

function checkMime(mime: string, kind: MediaKind): void {
  const known = mime !== '' && mime !== 'application/octet-stream';
  if (known && !mime.startsWith(`${kind}/`)) throw new Error(`expected ${kind} data, received ${mime}`);
}

function parseDataUri(uri: string, kind: MediaKind): MediaSource {
  const comma = uri.indexOf(',');
  const header = uri.slice('data:'.length, comma);
  if (comma < 0 || !/;base64$/i.test(header)) throw new Error('expected a data: URI in base64');
  const mime = header.split(';')[0]!.toLowerCase();
  checkMime(mime, kind);
  const text = uri.slice(comma + 1).replace(/\s/g, '');
  // Buffer.from skips what is not base64.
  const bytes = Buffer.from(text, 'base64');
  const padded = bytes.toString('base64');
  if (bytes.length === 0 || (text !== padded && text !== padded.replace(/=+$/, ''))) {
    throw new Error('the data: URI holds invalid base64, or nothing');
  }
  return { bytes, mime };
}

async function fetchRemote(url: string, kind: MediaKind): Promise<MediaSource> {
  const response = await fetch(url, { signal: AbortSignal.timeout(REMOTE_TIMEOUT_MS) });
  if (!response.ok || response.body === null)
    throw new Error(`${url} answered with status ${response.status}`);
  const mime = (response.headers.get('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
  checkMime(mime, kind);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > REMOTE_LIMIT_BYTES) throw new Error(`${url} is larger than ${REMOTE_LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return { bytes: Buffer.concat(chunks), mime };
}

function isInside(path: string, directory: string): boolean {
  const way = relative(directory, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

async function locate(
  reference: string,
  dataDirectory: string,
  mediaRoot: string | undefined,
): Promise<MediaSource> {
  const wasRelative = !isAbsolute(reference);
  const path = await realpath(resolve(dataDirectory, reference)).catch(() => {
    throw new Error(`there is no file ${shorten(reference)}`);
  });
  // Both ends with links resolved: neither `..` nor a link leads out.
  const allowed =
    (wasRelative && isInside(path, await realpath(dataDirectory))) ||
    (mediaRoot !== undefined && isInside(path, await realpath(mediaRoot)));
  if (!allowed) {
    const what = wasRelative
      ? `${shorten(reference)} leads out of the data file's directory`
      : `absolute path ${shorten(reference)}`;
    const root = mediaRoot === undefined ? 'no media root is set' : `the media root is ${mediaRoot}`;
    throw new Error(`${what}: only files under the media root are read (${root})`);
  }
  if (!(await stat(path)).isFile()) throw new Error(`${shorten(reference)} is not a file`);
  return { path };
}

/**
 * Finds what a record's reference to an image, video or sound stands for: a path relative to the data file's
 * directory, an absolute path or `file:` URL under the media root, a base64 `data:` URI, or, where allowed, an
 * http(s) URL (at most 64 MiB and 30 s).
 *
 * @throws for anything else, and for files outside those directories
 */
export async function resolveMedia(
  reference: string,
  kind: MediaKind,
  dataDirectory: string,
  options: MediaOptions = {},
): Promise<MediaSource> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(reference)?.[1]?.toLowerCase();
  if (/^data:/i.test(reference)) return parseDataUri(reference, kind);
  if (scheme === 'http' || scheme === 'https') {
    if (options.allowRemote) return fetchRemote(reference, kind);
    throw new Error(`remote URL ${shorten(reference)} is refused: allow remote media, or download it`);
  }
  if (scheme !== undefined && scheme !== 'file') throw new Error(`URLs of type ${scheme}: are not supported`);
  if (reference === '' || reference.includes('\0'))
    throw new Error(`expected a path, received ${shorten(reference)}`);
  return locate(scheme === 'file' ? fileURLToPath(reference) : reference, dataDirectory, options.mediaRoot);
}
