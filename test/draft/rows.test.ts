import { expect, test } from 'vitest';
import { pack } from '../../lib/data/packing.js';
import { candidateRows, planRows } from '../../lib/draft/rows.js';
import type { Sample } from '../../lib/models/target.js';
import { Draws } from '../helpers/random.js';

function sample(mask: number[], id = 'a'): Sample {
  const length = mask.length;
  return {
    id,
    inputIds: Int32Array.from({ length }, (_, t) => t),
    lossMask: Uint8Array.from(mask),
    positionIds: Float32Array.from({ length }, (_, t) => t),
    axes: 1,
    positionDelta: 0,
    media: [],
    modality: 'text',
  };
}

test('serving mask: a draft starts after the first answer token and stops with the turn', () => {
  const batch = pack([sample([0, 0, 1, 1, 1, 1, 0, 0])], 'index');
  const { masks, prefix, teacher } = candidateRows(batch, { steps: 3, mask: 'serving' });
  expect(masks.map((mask) => [...mask].join(''))).toEqual(['01110000', '01100000', '01000000']);
  expect([...prefix]).toEqual([0, 1, 2, 3]);
  expect([...teacher]).toEqual([2, 3, 4]);
});

test('specforge mask: the token at the slot itself decides, up to the end of the sequence', () => {
  const batch = pack([sample([0, 1, 1, 1])], 'index');
  const { masks } = candidateRows(batch, { steps: 2, mask: 'specforge' });
  expect(masks.map((mask) => [...mask].join(''))).toEqual(['0100', '1000']);
});

test('out-of-vocabulary choices of the target take slots out; a later step keeps the slot active', () => {
  const batch = pack([sample([0, 1, 1, 1, 1])], 'index');
  const candidates = candidateRows(batch, { steps: 2, mask: 'serving' });
  expect([...candidates.teacher]).toEqual([1, 2, 3]);
  const draftIds = Int32Array.of(0, -1, 1);
  const plan = planRows(batch, candidates, Int32Array.of(1, 0, 2), draftIds);
  // The target's choice at row 1 is outside: slot 0 is not supervised at step 0, but it is at step 1.
  expect([...plan.steps[0]!.slots]).toEqual([0, 1, 2]);
  expect([...plan.steps[0]!.supervised]).toEqual([1, 2]);
  expect([...plan.steps[1]!.slots]).toEqual([0, 1]);
  expect(plan.steps[0]!.candidates).toBe(3);
  const kept = planRows(batch, candidates, Int32Array.of(1, 0, 2), undefined);
  expect([...kept.steps[0]!.supervised]).toEqual([0, 1, 2]);
});

test('rows never cross sequences and every list is consistent, for random masks', () => {
  for (let seed = 0; seed < 40; seed++) {
    const draws = new Draws(seed);
    const samples = Array.from({ length: draws.int(1, 5) }, (_, b) =>
      sample(
        Array.from({ length: draws.int(1, 30) }, () => (draws.uniform() < 0.7 ? 1 : 0)),
        String(b),
      ),
    );
    const batch = pack(samples, 'index');
    const rules = { steps: draws.int(1, 8), mask: seed % 2 ? ('serving' as const) : ('specforge' as const) };
    const candidates = candidateRows(batch, rules);
    const draftIds = Int32Array.from({ length: 5 }, (_, id) => (id < 3 ? id : -1));
    const choices = candidates.teacher.map(() => draws.int(0, 5));
    const plan = planRows(batch, candidates, choices, draftIds);
    const sequenceOf = (row: number) => batch.offsets.findIndex((start) => start > row) - 1;
    plan.steps.forEach((step, s) => {
      const before = s === 0 ? plan.prefix : plan.steps[s - 1]!.slots;
      step.slots.forEach((slot, row) => {
        expect(before[step.previous[row]!]).toBe(slot);
        const begin = plan.prefix[plan.ranges[s]!.begin[row]!]!;
        expect(begin).toBe(batch.offsets[sequenceOf(slot)]);
        expect(plan.prefix[plan.ranges[s]!.end[row]! - 1]).toBe(slot);
      });
      step.supervised.forEach((row, n) => {
        const slot = step.slots[row]!;
        const teacher = candidates.teacher[step.teacher[n]!]!;
        expect(teacher).toBe(slot + 1 + s);
        expect(sequenceOf(teacher)).toBe(sequenceOf(slot));
        expect(candidates.masks[s]![slot]).toBe(1);
        expect(draftIds[choices[step.teacher[n]!]!]).toBeGreaterThanOrEqual(0);
      });
      const later = new Set(
        plan.steps.slice(s).flatMap(({ slots, supervised }) => Array.from(supervised, (r) => slots[r])),
      );
      expect([...step.slots].every((slot) => later.has(slot))).toBe(true);
    });
  }
});
