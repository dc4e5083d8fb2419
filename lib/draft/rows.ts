import type { PackedBatch } from '../data/packing.js';

export interface RowRules {
  /** S, the number of TTT steps. */
  steps: number;
  /** Which slots a step supervises; section 4 of the training contract. */
  mask: 'serving' | 'specforge';
}

/** Where the loss can reach before the target is known: packed indices, ascending. */
export interface CandidateRows {
  rules: RowRules;
  /** [S][N]: slot i is supervised at step s if the target's choice there is in the draft vocabulary. */
  masks: Uint8Array[];
  /** Slots of step-0 keys and values: 0..J of every sequence. */
  prefix: Int32Array;
  /** Target rows i + 1 + s that some supervised pair (i, s) learns from. */
  teacher: Int32Array;
}

/** The rows that one TTT step computes. */
export interface StepRows {
  /** A[s]: packed slots, ascending. */
  slots: Int32Array;
  /** For every slot its row among the previous step's slots; for step 0 its row in the prefix. */
  previous: Int32Array;
  /** L[s]: rows of `slots` that are supervised. */
  supervised: Int32Array;
  /** For every slot i the row of token i + 1 + s, whose embedding it reads, among the plan's tokens. */
  tokens: Int32Array;
  /** For each supervised row its row in the teacher. */
  teacher: Int32Array;
  /** Number of candidates: supervised rows and those that the target's out-of-vocabulary choice took out. */
  candidates: number;
}

/** Section 3 of the training contract for one packed batch. */
export interface RowPlan {
  prefix: Int32Array;
  /** Packed indices of the tokens that slots of any step read: for most of them, those of several steps. */
  tokens: Int32Array;
  /** int32 [|A[s]|] for every step: the keys of the prefix that each slot sees. */
  ranges: { begin: Int32Array; end: Int32Array }[];
  steps: StepRows[];
}

/** First pass: the masks as far as the conversation alone decides them. */
export function candidateRows(batch: PackedBatch, rules: RowRules): CandidateRows {
  const { offsets, lossMask } = batch;
  const rows = lossMask.length;
  const masks = Array.from({ length: rules.steps }, () => new Uint8Array(rows));
  const isTeacher = new Uint8Array(rows);
  const prefix: number[] = [];
  // run[t]: how many assistant tokens follow without a break from t on.
  const run = new Int32Array(rows + 1);
  for (let b = 0; b + 1 < offsets.length; b++) {
    const start = offsets[b]!;
    const stop = offsets[b + 1]!;
    for (let t = stop - 1; t >= start; t--) run[t] = lossMask[t] ? 1 + (t + 1 < stop ? run[t + 1]! : 0) : 0;
    let last = start - 1;
    for (let i = start; i < stop; i++) {
      for (let s = 0; s < rules.steps && i + 2 + s < stop; s++) {
        if (rules.mask === 'serving' ? run[i + 1]! < s + 2 : !lossMask[i + s]) continue;
        masks[s]![i] = 1;
        isTeacher[i + 1 + s] = 1;
        last = i;
      }
    }
    for (let i = start; i <= last; i++) prefix.push(i);
  }
  return { rules, masks, prefix: Int32Array.from(prefix), teacher: indicesOf(isTeacher) };
}

/**
 * Second pass: takes out the slots whose target choice the draft cannot make, and lists the rows of every step.
 * @param teacherChoices target's argmax at each candidate teacher row
 * @param draftIds draft id of each target id, −1 where there is none; absent: out-of-vocabulary rows are kept
 */
export function planRows(
  batch: PackedBatch,
  candidates: CandidateRows,
  teacherChoices: Int32Array,
  draftIds: Int32Array | undefined,
): RowPlan {
  const rows = batch.lossMask.length;
  const { prefix, teacher, masks } = candidates;
  const steps = masks.length;
  const teacherRow = inverse(teacher, rows);
  const supervised = masks.map((mask, s) => {
    if (!draftIds) return mask;
    return mask.map((m, i) => (m && draftIds[teacherChoices[teacherRow[i + 1 + s]!]!]! >= 0 ? 1 : 0));
  });
  const needed = new Uint8Array(rows);
  const active: Int32Array[] = new Array<Int32Array>(steps);
  for (let s = steps - 1; s >= 0; s--) {
    supervised[s]!.forEach((m, i) => {
      if (m) needed[i] = 1;
    });
    active[s] = indicesOf(needed);
  }
  const isToken = new Uint8Array(rows);
  active.forEach((slots, s) => {
    for (const slot of slots) isToken[slot + 1 + s] = 1;
  });
  const tokens = indicesOf(isToken);
  const tokenRow = inverse(tokens, rows);
  const plan: RowPlan = { prefix, tokens, ranges: [], steps: [] };
  const prefixRow = inverse(prefix, rows);
  const sequenceStart = sequenceStarts(batch);
  let previousRow = prefixRow;
  for (let s = 0; s < steps; s++) {
    const slots = active[s]!;
    const supervisedRows: number[] = [];
    const teacherRows: number[] = [];
    slots.forEach((slot, row) => {
      if (!supervised[s]![slot]) return;
      supervisedRows.push(row);
      teacherRows.push(teacherRow[slot + 1 + s]!);
    });
    plan.steps.push({
      slots,
      previous: slots.map((slot) => previousRow[slot]!),
      tokens: slots.map((slot) => tokenRow[slot + 1 + s]!),
      supervised: Int32Array.from(supervisedRows),
      teacher: Int32Array.from(teacherRows),
      candidates: masks[s]!.reduce((sum, m) => sum + m, 0),
    });
    plan.ranges.push({
      begin: slots.map((slot) => prefixRow[sequenceStart[slot]!]!),
      end: slots.map((slot) => prefixRow[slot]! + 1),
    });
    previousRow = inverse(slots, rows);
  }
  return plan;
}

function indicesOf(flags: Uint8Array): Int32Array {
  const indices: number[] = [];
  flags.forEach((flag, i) => {
    if (flag) indices.push(i);
  });
  return Int32Array.from(indices);
}

function inverse(indices: Int32Array, rows: number): Int32Array {
  const row = new Int32Array(rows).fill(-1);
  indices.forEach((index, i) => {
    row[index] = i;
  });
  return row;
}

function sequenceStarts(batch: PackedBatch): Int32Array {
  const starts = new Int32Array(batch.lossMask.length);
  for (let b = 0; b + 1 < batch.offsets.length; b++) {
    starts.fill(batch.offsets[b]!, batch.offsets[b], batch.offsets[b + 1]);
  }
  return starts;
}
