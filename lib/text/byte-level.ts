/**
 * Byte of each character of the byte-level alphabet (GPT-2): printable characters of Latin-1 stand for their own code,
 * the other bytes for the code points from 256 on, in order.
 */
const BYTES = new Map<string, number>();
let next = 256;
for (let byte = 0; byte < 256; byte++) {
  const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  BYTES.set(String.fromCharCode(printable ? byte : next++), byte);
}

/** Bytes that a token of a byte-level vocabulary stands for; `undefined` if it is none. */
export function tokenBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTES.get(token[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** UTF-8 of a text, with the range of UTF-16 code units that each byte belongs to. */
export interface Utf8Text {
  bytes: Uint8Array;
  start: Int32Array;
  end: Int32Array;
}

/** Encodes a text; lone surrogates become U+FFFD, as everywhere. */
export function utf8WithOffsets(text: string): Utf8Text {
  const bytes = new TextEncoder().encode(text);
  const start = new Int32Array(bytes.length);
  const end = new Int32Array(bytes.length);
  let unit = 0;
  let byte = 0;
  for (const c of text) {
    const code = c.codePointAt(0)!;
    const length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    start.fill(unit, byte, byte + length);
    end.fill(unit + c.length, byte, byte + length);
    unit += c.length;
    byte += length;
  }
  return { bytes, start, end };
}
