import { describe, expect, it } from 'vitest';
import { buildDist } from '../helpers/dist.js';
import { Draws } from '../helpers/random.js';
import { bench, type Product, type ProductsModule, type Sequence } from './helpers/modules.js';

const draft = (draws: Draws) => {
  const [numKeyValueHeads, group, headDim] = [draws.int(1, 4), draws.int(1, 4), 2 * draws.int(1, 5)];
  return {
    hiddenSize: draws.int(2, 20),
    intermediateSize: draws.int(2, 30),
    headDim,
    numHeads: group * numKeyValueHeads,
    numKeyValueHeads,
    draftVocabSize: draws.int(2, 40),
    numAuxHiddenStates: draws.int(1, 4),
  };
};
type Draft = ReturnType<typeof draft>;

buildDist();
const { productsOfStep } = (await bench('eyas', 'products.mjs')) as ProductsModule;

const flopOf = (products: Product[]): number =>
  products.reduce((sum, { m, k, n, count }) => sum + 2 * m * k * n * count, 0);

/** Is the draft's prediction of step `s` from slot `i` learned? By the definition, token for token. */
function isSupervised(mask: Uint8Array, i: number, s: number, rule: 'serving' | 'specforge'): boolean {
  if (i + s + 2 >= mask.length) return false;
  if (rule === 'specforge') return mask[i + s] === 1;
  return mask.subarray(i + 1, i + s + 3).every((token) => token === 1);
}

interface Count {
  /** Everything but attention. */
  linear: number;
  attention: number;
  /** Pairs of a query and a step. */
  queries: number;
}

/** FLOP of one optimizer step, slot by slot and matrix by matrix. */
function bruteForce(
  c: Draft,
  masks: Uint8Array[],
  options: { steps: number; vocab: number; rule: 'serving' | 'specforge'; dense: boolean },
): Count {
  const { steps, vocab, rule, dense } = options;
  const h = c.hiddenSize;
  const heads = c.numHeads * c.headDim;
  const keys = c.numKeyValueHeads * c.headDim;
  const count = { linear: 0, attention: 0, queries: 0 };
  for (const mask of masks) {
    const learned = (i: number, s: number): boolean => dense || isSupervised(mask, i, s, rule);
    const active = (i: number, s: number): boolean => {
      for (let later = s; later < steps; later++) if (learned(i, later)) return true;
      return false;
    };
    for (let i = 0; i < mask.length; i++) {
      let isTeacher = dense;
      for (let s = 0; s < steps && i - 1 - s >= 0; s++) if (learned(i - 1 - s, s)) isTeacher = true;
      if (isTeacher) count.linear += 2 * h * vocab;

      let isPrefix = false;
      for (let j = i; j < mask.length; j++) if (active(j, 0)) isPrefix = true;
      // fc reads the target's states: forward and its own gradient, none for its input.
      if (isPrefix) count.linear += 2 * 2 * c.numAuxHiddenStates * h * h;

      // Forward, gradient of the input, gradient of the weights.
      const full = (rows: number, columns: number): number => 3 * 2 * rows * columns;
      // The embedding of the token after slot i has no gradient, and all steps share what q, k and v read of it.
      if (!dense) {
        let isRead = false;
        for (let s = 0; s < steps && i - s >= 0; s++) if (active(i - s, s)) isRead = true;
        if (isPrefix) count.linear += (2 / 3) * full(2 * keys, h);
        if (isRead) count.linear += (2 / 3) * full(heads + 2 * keys, h);
      }
      const read = dense ? 2 * h : h;
      for (let s = 0; s < steps; s++) {
        if (s === 0 ? isPrefix : active(i, s)) count.linear += 2 * full(keys, read);
        if (learned(i, s)) count.linear += full(c.draftVocabSize, h);
        if (!active(i, s)) continue;
        count.linear += full(heads, read) + full(h, heads) + 3 * full(c.intermediateSize, h);
        count.queries += 1;
        // Slots 0..i of the first step, and slot i of the steps after it up to this one.
        for (let key = 0; key < i + 1 + s; key++) count.attention += 7 * 2 * heads;
      }
    }
  }
  return count;
}

const sequence = (mask: number[]): Sequence => ({
  inputIds: new Int32Array(mask.length),
  lossMask: Uint8Array.from(mask),
});

/** Turns of random lengths. */
function conversation(draws: Draws): Sequence {
  const mask: number[] = [];
  let assistant = draws.int(0, 2);
  for (let turn = draws.int(1, 5); turn > 0; turn--, assistant = 1 - assistant) {
    for (let i = draws.int(1, 9); i > 0; i--) mask.push(assistant);
  }
  return sequence(mask);
}

function expectFlop(products: Product[], config: Draft, counted: Count): void {
  // Products have whole numbers of keys: half a key a query at most is lost to that.
  const rounding = 7 * 2 * config.numHeads * config.headDim * 0.5 * counted.queries;
  expect(Math.abs(flopOf(products) - counted.linear - counted.attention)).toBeLessThanOrEqual(rounding);
}

describe('products of an optimizer step', () => {
  it.each(['serving', 'specforge'] as const)('add up to what each slot needs, rows of %s', (mask) => {
    for (let seed = 1; seed <= 200; seed++) {
      const draws = new Draws(seed);
      const config = draft(draws);
      const samples = Array.from({ length: draws.int(1, 4) }, () => conversation(draws));
      const options = { steps: draws.int(1, 6), vocab: draws.int(40, 90), mask };
      const { compact, dense } = productsOfStep(config, samples, options);
      const masks = samples.map(({ lossMask }) => lossMask);
      const by = { ...options, rule: mask };
      expectFlop(compact, config, bruteForce(config, masks, { ...by, dense: false }));
      expectFlop(dense, config, bruteForce(config, masks, { ...by, dense: true }));
    }
  });

  it('are exact where every query sees a whole number of keys on average', () => {
    const config = { ...draft(new Draws(5)), numHeads: 4, numKeyValueHeads: 2, headDim: 8 };
    // Slots 3, 4 and 5 learn at the first step.
    const samples = [sequence([0, 0, 0, 0, 1, 1, 1, 1])];
    const options = { steps: 1, vocab: 50 };
    const { linear, attention } = bruteForce(config, [samples[0]!.lossMask], {
      ...options,
      rule: 'serving',
      dense: false,
    });
    expect(attention).toBe(7 * 2 * 32 * (4 + 5 + 6));
    expect(flopOf(productsOfStep(config, samples, options).compact)).toBe(linear + attention);
  });

  it('are as many as there are calls: forward, gradients of inputs, of weights, attention of each head', () => {
    const draws = new Draws(7);
    for (const steps of [1, 2, 7]) {
      const config = draft(draws);
      const { compact } = productsOfStep(config, [conversation(draws)], { steps, vocab: 50 });
      const calls = compact.reduce((sum, { count }) => sum + count, 0);
      const perStep = 2 * ['qkv', 'o', 'gate and up', 'down'].length + 7 * config.numKeyValueHeads;
      const apart = 2 * ['kv of the prefix'].length;
      const once = ['teacher', 'fc', 'embedded kv', 'embedded qkv', 'head', 'its input'].length;
      const weights = [
        'fc',
        'embedded kv',
        'embedded qkv',
        'q',
        'kv',
        'qkv',
        'o',
        'gate and up',
        'down',
        'head',
      ];
      expect(calls).toBe(steps * perStep + apart + once + weights.length);
    }
  });

  it('need nothing where nothing is learned', () => {
    const config = draft(new Draws(3));
    const { compact, dense } = productsOfStep(config, [sequence([0, 0, 0, 0])], { steps: 3, vocab: 50 });
    expect(flopOf(compact)).toBe(0);
    expect(flopOf(dense)).toBeGreaterThan(0);
  });
});
