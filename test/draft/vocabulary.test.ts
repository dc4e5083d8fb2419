import { describe, expect, test } from 'vitest';
import { DraftVocabulary, TokenCounter } from '../../lib/draft/vocabulary.js';

describe('draft vocabulary', () => {
  test('takes the most frequent supervised ids, ties by id, with the required ones', () => {
    const counter = new TokenCounter(10);
    counter.add([7, 7, 7, 3, 3, 5, 1, 1, 9], [1, 1, 1, 1, 1, 1, 1, 0, 1]);
    const { vocabulary, coverage } = counter.select(4, [0]);
    // 7 three times, 3 twice, then 1, 5 and 9 once each: the lowest.
    expect([...vocabulary.targetIds]).toEqual([0, 1, 3, 7]);
    expect(coverage).toBeCloseTo(6 / 8);
    expect(vocabulary.draftIds[3]).toBe(2);
    expect(vocabulary.draftIds[5]).toBe(-1);
  });

  test('fills up from the lowest ids where the data has fewer', () => {
    const counter = new TokenCounter(6);
    counter.add([5], [1]);
    expect([...counter.select(3, []).vocabulary.targetIds]).toEqual([0, 1, 5]);
  });

  test('d2t holds offsets and t2d is as long as the target vocabulary', () => {
    const vocabulary = new DraftVocabulary([2, 3, 7], 9);
    expect([...vocabulary.d2t()]).toEqual([2n, 2n, 5n]);
    expect([...vocabulary.t2d()]).toEqual([0, 0, 1, 1, 0, 0, 0, 1, 0]);
    expect([...DraftVocabulary.fromD2t(vocabulary.d2t(), 9).targetIds]).toEqual([2, 3, 7]);
  });

  test.each([
    [[3, 2], 'expected ascending ids below 9, received 2 after 3'],
    [[3, 3], 'received 3 after 3'],
    [[9], 'received 9 after -1'],
    [[-1], 'received -1 after -1'],
  ])('refuses %j', (ids, message) => {
    expect(() => new DraftVocabulary(ids, 9)).toThrow(message);
  });

  test('refuses a size that cannot be', () => {
    const counter = new TokenCounter(5);
    expect(() => counter.select(6, [])).toThrow('expected a size from 0 to 5, received 6');
    expect(() => counter.select(1, [0, 1])).toThrow('expected a size from 2 to 5, received 1');
  });
});
