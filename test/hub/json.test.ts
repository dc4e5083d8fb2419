import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findJsonProblem } from '../../lib/hub/json.js';

describe('findJsonProblem', () => {
  it('accepts exactly what JSON.parse accepts', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"b',
      '"',
      '\\',
      '1',
      '-',
      '0',
      '.5',
      'e3',
      'null',
      ' ',
      '\n',
      'x',
    );
    const texts = fc.oneof(
      fc.json(),
      fc.array(pieces, { maxLength: 8 }).map((list) => list.join('')),
      fc.tuple(fc.json(), fc.nat(), pieces).map(([text, at, piece]) => {
        const cut = at % (text.length + 1);
        return text.slice(0, cut) + piece + text.slice(cut + 1);
      }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        const problem = findJsonProblem(text);
        if (problem?.reason.startsWith('duplicate key')) return;
        expect(problem === undefined).toBe(valid);
        if (problem) expect(problem.offset).toBeLessThanOrEqual(text.length);
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['{"a": 1, "b": {"a": 2}, "a": 3}', 24, 'duplicate key "a"'],
    ['{"a": 1, "\\u0061": 2}', 9, 'duplicate key "a"'],
    ['{"a" 1}', 5, 'expected ":", received "1"'],
    ['{"a": 1,}', 8, 'expected a key, received "}"'],
    ['[1 2]', 3, 'expected "," or "]", received "2"'],
    ['["a\n"]', 3, 'expected a string, received "\\n"'],
    ['["a', 3, 'expected a string, received the end of the text'],
    ['01', 1, 'expected the end of the text, received "1"'],
    ['', 0, 'expected a value, received the end of the text'],
  ])('finds what is wrong with %j', (text, offset, reason) => {
    expect(findJsonProblem(text)).toEqual({ offset, reason });
  });

  it('takes the same key in different objects, and any depth', () => {
    expect(findJsonProblem('[{"a": 1}, {"a": {"a": 1}}]')).toBeUndefined();
    expect(findJsonProblem('['.repeat(200_000) + ']'.repeat(200_000))).toBeUndefined();
  });
});
