export type MediaKind = 'image' | 'video' | 'audio';

/** What the first bytes of a file say: its type, and what such a file may be. */
export interface MediaType {
  mime: string;
  kinds: readonly MediaKind[];
}

/** First bytes that {@link sniffMedia} looks at. */
export const SNIFFED_BYTES = 64;

const SIGNATURES: readonly { at: number; bytes: string; type: MediaType }[] = (
  [
    [0, '\x89PNG\r\n\x1a\n', 'image/png', 'image'],
    [0, '\xff\xd8\xff', 'image/jpeg', 'image'],
    [0, 'GIF87a', 'image/gif', 'image', 'video'],
    [0, 'GIF89a', 'image/gif', 'image', 'video'],
    [8, 'WEBP', 'image/webp', 'image'],
    [0, 'II*\0', 'image/tiff', 'image'],
    [0, 'MM\0*', 'image/tiff', 'image'],
    [8, 'WAVE', 'audio/wav', 'audio'],
    [0, 'fLaC', 'audio/flac', 'audio'],
    [0, 'ID3', 'audio/mpeg', 'audio'],
    [8, 'AIFF', 'audio/aiff', 'audio'],
    [28, '\x80theora', 'video/ogg', 'video'],
    [28, '\x7fFLAC', 'audio/ogg', 'audio'],
    [28, '\x01vorbis', 'audio/ogg', 'audio'],
    [28, 'OpusHead', 'audio/ogg', 'audio'],
    [0, 'OggS', 'application/ogg', 'audio', 'video'],
    [4, 'ftypM4A ', 'audio/mp4', 'audio'],
    [4, 'ftypM4B ', 'audio/mp4', 'audio'],
    [4, 'ftypavif', 'image/avif', 'image'],
    [4, 'ftyphei', 'image/heic', 'image'],
    [4, 'ftypmif1', 'image/heif', 'image'],
    [4, 'ftypqt  ', 'video/quicktime', 'video', 'audio'],
    [4, 'ftyp', 'video/mp4', 'video', 'audio'],
    [0, '\x1aE\xdf\xa3', 'video/webm', 'video', 'audio'],
    [8, 'AVI ', 'video/x-msvideo', 'video'],
    [0, 'FLV\x01', 'video/x-flv', 'video'],
    [0, '\0\0\x01\xba', 'video/mpeg', 'video'],
    [0, '\0\0\x01\xb3', 'video/mpeg', 'video'],
  ] as const
).map(([at, bytes, mime, ...kinds]) => ({ at, bytes, type: { mime, kinds } }));

/** Whether bytes begin a frame of MPEG audio: its sync word, then fields that are none of the reserved values. */
function isMpegAudio(bytes: Uint8Array): boolean {
  const [first = 0, second = 0, third = 0] = bytes;
  if (first !== 0xff || (second & 0xe0) !== 0xe0) return false;
  const isAdts = (second & 0xf6) === 0xf0;
  const [version, layer] = [(second >> 3) & 3, (second >> 1) & 3];
  const isMp3 = version !== 1 && layer !== 0 && third >> 4 !== 15 && ((third >> 2) & 3) !== 3;
  return isAdts || isMp3;
}

/**
 * Type of a picture, clip or sound by its first bytes; `undefined` where they are of no type known here. Containers
 * that hold clips and sounds alike may be both.
 */
export function sniffMedia(bytes: Uint8Array): MediaType | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, SNIFFED_BYTES));
  const text = head.toString('latin1');
  const known = SIGNATURES.find((signature) => text.startsWith(signature.bytes, signature.at));
  if (known) return known.type;
  return isMpegAudio(head) ? { mime: 'audio/mpeg', kinds: ['audio'] } : undefined;
}

/** Names of types that are those of a kind without beginning with its name. */
const OTHER_TYPES: Record<MediaKind, readonly string[]> = {
  image: [],
  video: ['application/ogg', 'application/mp4'],
  audio: ['application/ogg'],
};

/** @throws where a declared type is that of another kind; one that says nothing passes */
export function checkMime(mime: string, kind: MediaKind): void {
  if (mime === '' || mime === 'application/octet-stream') return;
  if (!mime.startsWith(`${kind}/`) && !OTHER_TYPES[kind].includes(mime)) {
    throw new Error(`expected ${kind} data, received ${mime}`);
  }
}

/**
 * Type of bytes that should be of a kind: `application/octet-stream` where it cannot be told.
 *
 * @throws where they are of another kind
 */
export function mediaMime(bytes: Uint8Array, kind: MediaKind): string {
  const type = sniffMedia(bytes);
  if (!type) return 'application/octet-stream';
  if (!type.kinds.includes(kind)) throw new Error(`expected ${kind} data, received ${type.mime}`);
  return type.mime;
}
