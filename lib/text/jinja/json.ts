import { findJsonProblem } from '../../hub/json.js';
import { Dict, TemplateError, type Value } from './values.js';

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /[^ \t\n\r{}[\],:"]+/y;

/** Index after the string that opens at `at`. Its length is not bounded by the stack, as that of a match would be. */
function endOfString(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); ; end = text.indexOf('"', end + 1)) {
    let slash = end;
    while (text[slash - 1] === '\\') slash--;
    if ((end - slash) % 2 === 0) return end + 1;
  }
}

function endOfToken(text: string, at: number): number {
  if (text[at] === '"') return endOfString(text, at);
  SCALAR.lastIndex = at;
  return SCALAR.test(text) ? SCALAR.lastIndex : at + 1;
}

/** Tokens of a text that is JSON, without commas and colons. */
function* tokens(text: string): Generator<string> {
  for (let at = 0; at < text.length;) {
    SPACE.lastIndex = at;
    SPACE.test(text);
    const start = SPACE.lastIndex;
    if (start === text.length) return;
    at = endOfToken(text, start);
    if (text[start] !== ',' && text[start] !== ':') yield text.slice(start, at);
  }
}

/** An object or array that is not closed yet, with the key of the object's next value. */
interface Open {
  value: Dict | Value[];
  key?: string | undefined;
}

/**
 * Parses JSON as Python's `json.loads` does: 1 and 1.0 stay apart, integers keep all their digits, and keys their order.
 *
 * @throws if the text is not JSON
 */
export function parseJson(text: string): Value {
  try {
    JSON.parse(text);
  } catch (error) {
    const reason = findJsonProblem(text)?.reason ?? (error as Error).message;
    throw new TemplateError(`invalid JSON: ${reason}`, { cause: error });
  }
  const open: Open[] = [];
  let last: Value = null;
  for (const token of tokens(text)) {
    const around = open.at(-1);
    if (token === '}' || token === ']') {
      last = open.pop()!.value;
      continue;
    }
    if (around?.value instanceof Dict && around.key === undefined) {
      around.key = JSON.parse(token) as string;
      continue;
    }
    if (token === '{') last = new Dict();
    else if (token === '[') last = [];
    else last = /^-?\d+$/.test(token) ? BigInt(token) : (JSON.parse(token) as Value);
    if (around?.value instanceof Dict) around.value.set(around.key!, last);
    else around?.value.push(last);
    if (around) around.key = undefined;
    if (last instanceof Dict || Array.isArray(last)) open.push({ value: last });
  }
  return last;
}
