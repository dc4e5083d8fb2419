import { describe, expect, it, onTestFinished } from 'vitest';
import { generateGreedy } from '../../lib/decoding/generate.js';
import type { Target } from '../../lib/models/target.js';
import { native } from '../../lib/native.js';
import { cases, checkpoints, expectedCase, loadTarget } from '../models/qwen2_5_vl/checkpoints.js';

function open(checkpoint: string): Target {
  const target = loadTarget(checkpoint);
  onTestFinished(() => {
    target.dispose();
  });
  return target;
}

describe.each(checkpoints)('greedy text of %s is that of transformers', (checkpoint) => {
  it.each(cases)('%s', (name) => {
    const target = open(checkpoint);
    const { sample, greedy } = expectedCase(checkpoint, name);
    const { ids, finish } = generateGreedy(target, sample, { maxNewTokens: greedy.length, eosTokenIds: [] });
    expect([...ids]).toEqual(greedy);
    expect(finish).toBe('length');
  });
});

describe('generateGreedy', () => {
  it('stops behind an end of text and hands out tokens as they are made', () => {
    const target = open('untied');
    const { sample, greedy } = expectedCase('untied', 'images');
    const end = greedy[5]!;
    const until = greedy.slice(0, greedy.indexOf(end) + 1);
    const seen: number[] = [];
    const { ids, finish } = generateGreedy(target, sample, {
      maxNewTokens: 100,
      eosTokenIds: [end],
      onToken: (id) => seen.push(id),
    });
    expect([...ids]).toEqual(until);
    expect(seen).toEqual(until);
    expect(finish).toBe('eos');
  });

  it('makes at least one token and no more than it may', () => {
    const target = open('tied');
    const { sample, greedy } = expectedCase('tied', 'text');
    expect([...generateGreedy(target, sample, { maxNewTokens: 1, eosTokenIds: [] }).ids]).toEqual(
      greedy.slice(0, 1),
    );
    expect(() => generateGreedy(target, sample, { maxNewTokens: 0 })).toThrow(
      'expected a positive integer, received 0',
    );
  });

  it('leaves no tensor behind', () => {
    const target = open('tied');
    const { sample } = expectedCase('tied', 'clip');
    const run = () => generateGreedy(target, sample, { maxNewTokens: 5 });
    run();
    const before = native.memory().liveTensors;
    run();
    const failing = () =>
      generateGreedy(target, sample, {
        maxNewTokens: 5,
        onToken: () => {
          throw new Error('enough');
        },
      });
    expect(failing).toThrow('enough');
    expect(native.memory().liveTensors).toBe(before);
  });
});
