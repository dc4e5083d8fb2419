import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { interpret } from '../../lib/text/jinja/interpreter.js';
import { parseJson } from '../../lib/text/jinja/json.js';
import { parse } from '../../lib/text/jinja/parser.js';
import { Dict, type Value } from '../../lib/text/jinja/values.js';

/** Made by scripts/fixtures/jinja.py: templates with what Python prints, `null` where it throws. */
const load = (name: string): { data: Dict; cases: [template: string, answer: string | null][] } => {
  const file = parseJson(readFileSync(new URL(`../fixtures/jinja/${name}.json`, import.meta.url), 'utf8'));
  if (!(file instanceof Dict)) throw new Error(`${name}.json: expected an object`);
  return { data: file.get('data') as Dict, cases: file.get('cases') as [string, string | null][] };
};

const render = (template: string, data: Dict): string =>
  interpret(parse(template), new Map(data.entries() as Iterable<[string, Value]>)).output.text;

describe.each(['micro', 'expressions'])('templates of %s.json', (name) => {
  const { data, cases } = load(name);

  it.each(cases)('%j', (template, answer) => {
    // The address of a method's object is not to be had.
    if (answer === null || answer.startsWith('<built-in method')) {
      expect(() => render(template, data)).toThrow();
    } else {
      expect(render(template, data)).toBe(answer);
    }
  });
});
