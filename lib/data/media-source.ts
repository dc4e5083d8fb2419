import { open, realpath, stat } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MediaSource } from '../models/target.js';
import { checkMime, mediaMime, SNIFFED_BYTES, type MediaKind } from './media-kind.js';

export interface MediaOptions {
  /** Directory under which absolute paths, and paths that leave the data file's directory, may be read. */
  mediaRoot?: string | undefined;
  /** Fetch http and https URLs; refused if false or absent. */
  allowRemote?: boolean | undefined;
}

const REMOTE_LIMIT_BYTES = 64 * 1024 * 1024;
const REMOTE_TIMEOUT_MS = 30_000;

function shorten(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text);
}

/** Bytes that a data file holds; they are not kept, but read again when they are needed. */
export class EmbeddedMedia {
  constructor(
    /** As they were when the record was read; dropped with it. */
    readonly bytes: Uint8Array,
    /** `file:row`, for messages. */
    readonly name: string,
    /** Reads them again. */
    readonly read: () => Promise<Uint8Array>,
  ) {}
}

/** The declared type, or what the bytes say where there is none. */
function typeOf(mime: string, bytes: Uint8Array, kind: MediaKind): string {
  checkMime(mime, kind);
  return mime === '' || mime === 'application/octet-stream' ? mediaMime(bytes, kind) : mime;
}

function parseDataUri(uri: string, kind: MediaKind): MediaSource {
  const comma = uri.indexOf(',');
  const header = uri.slice('data:'.length, comma);
  if (comma < 0 || !/;base64$/i.test(header)) throw new Error('expected a data: URI in base64');
  const text = uri.slice(comma + 1).replace(/\s/g, '');
  // Buffer.from skips what is not base64.
  const bytes = Buffer.from(text, 'base64');
  const padded = bytes.toString('base64');
  if (bytes.length === 0 || (text !== padded && text !== padded.replace(/=+$/, ''))) {
    throw new Error('the data: URI holds invalid base64, or nothing');
  }
  return { bytes, mime: typeOf(header.split(';')[0]!.toLowerCase(), bytes, kind) };
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
  const bytes = Buffer.concat(chunks);
  return { bytes, mime: typeOf(mime, bytes, kind) };
}

function isInside(path: string, directory: string): boolean {
  const way = relative(directory, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** Checks that a path is a file, and by its first bytes that it is none of another kind. */
async function checkFile(path: string, reference: string, kind: MediaKind): Promise<void> {
  if (!(await stat(path)).isFile()) throw new Error(`${shorten(reference)} is not a file`);
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SNIFFED_BYTES), 0, SNIFFED_BYTES, 0);
    mediaMime(buffer.subarray(0, bytesRead), kind);
  } finally {
    await file.close();
  }
}

async function locate(
  reference: string,
  kind: MediaKind,
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
  await checkFile(path, reference, kind);
  return { path };
}

/**
 * Finds what a record's reference to an image, video or sound stands for: a path relative to the data file's
 * directory, an absolute path or `file:` URL under the media root, a base64 `data:` URI, bytes of the data file itself,
 * or, where allowed, an http(s) URL (at most 64 MiB and 30 s).
 *
 * @throws for anything else, for files outside those directories, and for media of another kind
 */
export async function resolveMedia(
  reference: string | EmbeddedMedia,
  kind: MediaKind,
  dataDirectory: string,
  options: MediaOptions = {},
): Promise<MediaSource> {
  if (reference instanceof EmbeddedMedia) {
    const { bytes, name, read } = reference;
    return { name, mime: mediaMime(bytes, kind), read };
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(reference)?.[1]?.toLowerCase();
  if (/^data:/i.test(reference)) return parseDataUri(reference, kind);
  if (scheme === 'http' || scheme === 'https') {
    if (options.allowRemote) return fetchRemote(reference, kind);
    throw new Error(`remote URL ${shorten(reference)} is refused: allow remote media, or download it`);
  }
  if (scheme !== undefined && scheme !== 'file') throw new Error(`URLs of type ${scheme}: are not supported`);
  if (reference === '' || reference.includes('\0'))
    throw new Error(`expected a path, received ${shorten(reference)}`);
  const path = scheme === 'file' ? fileURLToPath(reference) : reference;
  return locate(path, kind, dataDirectory, options.mediaRoot);
}
