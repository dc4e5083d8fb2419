import { TemplateError } from './values.js';

const CASED = /\p{Cased}/u;

/** `str.title()` of one character. */
function titleCase(c: string): string {
  const upper = c.toUpperCase();
  // Digraphs, ligatures, Greek with iota subscript and Georgian have a title case that is not their upper case.
  if (/[\u01c4-\u01cc\u01f1-\u01f3\u10d0-\u10ff]/.test(c) || (Array.from(upper).length > 1 && upper !== c)) {
    throw new TemplateError(`the title case of ${JSON.stringify(c)} is not supported`);
  }
  // With iota subscript, the capital is the title case.
  if (/[\u1f80-\u1ffc]/.test(c))
    throw new TemplateError(`the title case of ${JSON.stringify(c)} is not supported`);
  return upper;
}

/** `str.capitalize` */
export function capitalize(text: string): string {
  const [first] = text;
  if (first === undefined) return text;
  return titleCase(first) + lowerRest(text, first.length);
}

/** What follows `from` in lower case; a sigma at a word's end depends on what is before it. */
function lowerRest(text: string, from: number): string {
  if (text.includes('Σ')) throw new TemplateError('changing the case of text with Σ is not supported');
  return text.slice(from).toLowerCase();
}

/** `str.title`: words are runs of cased letters. */
export function title(text: string): string {
  lowerRest(text, text.length);
  let inWord = false;
  let result = '';
  for (const c of text) {
    result += inWord ? c.toLowerCase() : titleCase(c);
    inWord = CASED.test(c);
  }
  return result;
}

/** `str.swapcase` */
export function swapCase(text: string): string {
  lowerRest(text, text.length);
  return Array.from(text, (c) =>
    /\p{Lu}/u.test(c) ? c.toLowerCase() : /\p{Ll}/u.test(c) ? c.toUpperCase() : c,
  ).join('');
}

const every = (pattern: RegExp) => (text: string) =>
  text !== '' && Array.from(text).every((c) => pattern.test(c));

/** Whether cased letters are all of a kind, and there is one. */
const cased = (other: RegExp) => (text: string) => CASED.test(text) && !other.test(text);

function isDigit(text: string): boolean {
  if (/[^\p{Nd}]/u.test(text) && /\p{No}/u.test(text))
    throw new TemplateError('isdigit() of such numbers is not supported');
  return every(/\p{Nd}/u)(text);
}

function isNumeric(text: string): boolean {
  if (/\p{Script=Han}/u.test(text))
    throw new TemplateError('isnumeric() of Chinese characters is not supported');
  return every(/\p{N}/u)(text);
}

/** `str.isalpha` and its like. */
export const CHARACTER_TESTS: Readonly<Record<string, (text: string) => boolean>> = {
  isalpha: every(/\p{L}/u),
  isalnum: every(/[\p{L}\p{N}]/u),
  isdecimal: every(/\p{Nd}/u),
  isdigit: isDigit,
  isnumeric: isNumeric,
  islower: cased(/[\p{Lu}\p{Lt}]/u),
  isupper: cased(/[\p{Ll}\p{Lt}]/u),
  isascii: (text) => /^[\0-\x7f]*$/.test(text),
};
