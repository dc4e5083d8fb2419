import { utf8WithOffsets } from './byte-level.js';

const SPACE = '▁';
const BYTE = /^<0x([0-9A-F]{2})>$/;

/** Bytes that a token of a SentencePiece-style vocabulary stands for; `<0xE5>` is a byte of a character without a token. */
function pieceBytes(token: string): Uint8Array {
  const byte = BYTE.exec(token)?.[1];
  return byte === undefined ? new TextEncoder().encode(token) : Uint8Array.of(parseInt(byte, 16));
}

/**
 * Ranges of a text that its tokens cover, in UTF-16 code units, as [start, end] in turn. A `▁` that is put before the
 * text belongs to its first character, and so do all the bytes of a character to it.
 *
 * @param tokens tokens of the text, from `first` on, and perhaps more after them
 * @returns `undefined` if the tokens do not spell the text
 */
export function pieceOffsets(text: string, tokens: readonly string[], first: number): number[] | undefined {
  const utf8 = utf8WithOffsets(text.replaceAll(' ', SPACE));
  const prefix = new TextEncoder().encode(SPACE);
  for (const before of [prefix, new Uint8Array(0)]) {
    const bytes = Uint8Array.from([...before, ...utf8.bytes]);
    const place = (at: number) => Math.max(0, at - before.length);
    const offsets: number[] = [];
    let at = 0;
    for (let i = first; at < bytes.length && i < tokens.length; i++) {
      const piece = pieceBytes(tokens[i]!);
      if (!piece.every((byte, j) => byte === bytes[at + j])) break;
      offsets.push(utf8.start[place(at)]!, utf8.end[place(at + piece.length - 1)]!);
      at += piece.length;
    }
    if (at === bytes.length) return offsets;
  }
  return undefined;
}
