/** Characters that Python takes as white space, for a character class; those of JavaScript's \s differ. */
export const PYTHON_SPACE =
  '\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const SPACES = new RegExp(`[${PYTHON_SPACE}]+`);
// eslint-disable-next-line no-control-regex -- Python ends lines at these
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

/** `str.strip`, of the sides that are asked for; without characters, of white space. */
export function strip(text: string, characters: string | null, sides: 'both' | 'left' | 'right'): string {
  const list = Array.from(text);
  const set = characters === null ? undefined : new Set(characters);
  const strips = (c: string) => (set ? set.has(c) : SPACES.test(c));
  let [start, end] = [0, list.length];
  if (sides !== 'right') while (start < end && strips(list[start]!)) start++;
  if (sides !== 'left') while (end > start && strips(list[end - 1]!)) end--;
  return list.slice(start, end).join('');
}

/** Pieces between runs of white space, at most `max` cuts (no limit if negative), from the left or the right. */
function splitSpace(text: string, max: number, fromRight: boolean): string[] {
  const words = strip(text, null, 'both');
  if (words === '') return [];
  const pieces = words.split(SPACES);
  if (max < 0 || pieces.length <= max + 1) return pieces;
  // The piece that is left over keeps its white space inside; outside it is stripped on the side of the cuts only.
  const cuts = [...words.matchAll(new RegExp(SPACES, 'g'))];
  if (fromRight) {
    const from =
      max === 0
        ? strip(text, null, 'right')
        : strip(text, null, 'right').slice(0, text.indexOf(words) + cuts.at(-max)!.index);
    return [from, ...pieces.slice(pieces.length - max)];
  }
  const rest = max === 0 ? words : words.slice(cuts[max - 1]!.index + cuts[max - 1]![0].length);
  return [...pieces.slice(0, max), rest + text.slice(text.indexOf(words) + words.length)];
}

/** `str.split` and `str.rsplit`; without a separator, at white space. */
export function split(text: string, separator: string | null, max: number, fromRight: boolean): string[] {
  if (separator === null) return splitSpace(text, max, fromRight);
  if (separator === '') throw new Error('empty separator');
  const pieces = text.split(separator);
  if (max < 0 || pieces.length <= max + 1) return pieces;
  return fromRight
    ? [pieces.slice(0, pieces.length - max).join(separator), ...pieces.slice(pieces.length - max)]
    : [...pieces.slice(0, max), pieces.slice(max).join(separator)];
}

/** `str.splitlines` */
export function splitLines(text: string, keepEnds = false): string[] {
  const lines: string[] = [];
  let at = 0;
  for (const { index, 0: end } of text.matchAll(LINE_END)) {
    lines.push(text.slice(at, keepEnds ? index + end.length : index));
    at = index + end.length;
  }
  if (at < text.length) lines.push(text.slice(at));
  return lines;
}
