import { findJsonProblem } from '../../hub/json.js';
import { Dict, TemplateError, type Value } from './values.js';

const TOKEN = /[ \t\n\r]*([{}[\],:]|"(?:[^"\\]|\\.)*"|[^ \t\n\r{}[\],:"]+)/gy;

/**
 * Parses JSON as Python's `json.loads` does: 1 and 1.0 stay apart, integers keep all their digits, and keys their order.
 *
 * @throws if the text is not JSON
 */
export function parseJson(text: string): Value {
  const problem = findJsonProblem(text);
  if (problem) throw new TemplateError(`invalid JSON: ${problem.reason}`);
  const tokens = Array.from(text.matchAll(TOKEN), (match) => match[1]!);
  let at = 0;
  const parse = (): Value => {
    const token = tokens[at++]!;
    if (token === '[') {
      const items: Value[] = [];
      while (tokens[at] !== ']') {
        if (tokens[at] === ',') at++;
        items.push(parse());
      }
      at++;
      return items;
    }
    if (token === '{') {
      const dict = new Dict();
      while (tokens[at] !== '}') {
        if (tokens[at] === ',') at++;
        const key = JSON.parse(tokens[at]!) as string;
        at += 2;
        dict.set(key, parse());
      }
      at++;
      return dict;
    }
    if (/^-?\d+$/.test(token)) return BigInt(token);
    return JSON.parse(token) as null | boolean | number | string;
  };
  return parse();
}
