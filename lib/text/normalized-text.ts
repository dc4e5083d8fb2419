/** NFC of a text, with the range of the source that each of its code units comes from. */
export interface NormalizedText {
  text: string;
  /** Range `[start[i], end[i])` of the source, in UTF-16 code units, of code unit i of the text. */
  start: Int32Array;
  end: Int32Array;
}

interface Piece {
  text: string;
  start: number;
  end: number;
}

const MARK = /^\p{M}/u;

/** Splits a text where normalisation can neither compose nor reorder across the cut. */
function independentPieces(source: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const c of source) {
    const end = at + c.length;
    const last = pieces.at(-1);
    // Besides marks, a few letters compose with the one before (Hangul jamo and others): ask normalisation itself.
    const joins =
      last !== undefined &&
      c > '\x7f' &&
      (MARK.test(c) || (last.text + c).normalize('NFC') !== last.text.normalize('NFC') + c.normalize('NFC'));
    if (joins) {
      last.text += c;
      last.end = end;
    } else {
      pieces.push({ text: c, start: at, end });
    }
    at = end;
  }
  return pieces;
}

function commonPrefix(a: readonly string[], b: readonly string[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/** Cuts a piece into what normalisation leaves alone at its ends and what it changes in between. */
function alignPiece(piece: Piece): Piece[] {
  const from = Array.from(piece.text);
  const to = Array.from(piece.text.normalize('NFC'));
  const prefix = commonPrefix(from, to);
  const suffix = commonPrefix(from.slice(prefix).reverse(), to.slice(prefix).reverse());
  const result: Piece[] = [];
  let at = piece.start;
  const keep = (characters: readonly string[]) => {
    for (const c of characters) result.push({ text: c, start: at, end: (at += c.length) });
  };
  keep(from.slice(0, prefix));
  const changed = to.slice(prefix, to.length - suffix).join('');
  const length = from.slice(prefix, from.length - suffix).join('').length;
  if (changed) result.push({ text: changed, start: at, end: at + length });
  at += length;
  keep(from.slice(from.length - suffix));
  return result;
}

/**
 * Normalises to NFC and keeps track of where everything comes from. Where several characters become others, each of
 * the new ones comes from the whole of the old ones.
 */
export function normalizeNfc(source: string): NormalizedText {
  const text = source.normalize('NFC');
  const start = new Int32Array(text.length);
  const end = new Int32Array(text.length);
  if (text === source) {
    for (let i = 0; i < text.length; i++) {
      start[i] = i;
      end[i] = i + 1;
    }
    return { text, start, end };
  }
  let joined = '';
  for (const piece of independentPieces(source).flatMap(alignPiece)) {
    start.fill(piece.start, joined.length, joined.length + piece.text.length);
    end.fill(piece.end, joined.length, joined.length + piece.text.length);
    joined += piece.text;
  }
  if (joined !== text)
    throw new Error('[normalizeNfc] the pieces of a text do not add up to its normal form');
  return { text, start, end };
}
