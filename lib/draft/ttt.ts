import { Tape, type ExtraKeyVariables } from '../autograd.js';
import { ops, scope, tensor, toInts, type Tensor } from '../tensor.js';
import type { Eagle3Draft, StepKeys } from './eagle3.js';
import { indexTensor, type DraftInputs } from './inputs.js';
import type { StepRows } from './rows.js';
import type { DraftVocabulary } from './vocabulary.js';

/** Sums over the rows of one TTT step; they add up over batches. */
export interface StepMetrics {
  /** Σ of the rows' soft cross-entropy. */
  loss: number;
  /** Supervised rows: what the loss is divided by. */
  rows: number;
  /** Rows whose draft choice is the target's choice. */
  correct: number;
  /** Supervised rows and those whose target choice is outside the draft vocabulary: accuracy's denominator. */
  candidates: number;
  /** Slots whose predictions up to this step are all right. */
  chains: number;
}

export interface TttContext {
  draft: Eagle3Draft;
  vocabulary: DraftVocabulary;
  /** [V, H] of the target, frozen. */
  embedTokens: Tensor;
  /** [Vd, H]: the target's lm_head at the draft vocabulary. */
  teacherHead: Tensor;
}

/**
 * Training-time test on compacted rows (sections 2 and 3 of the training contract): S steps forward, and, where
 * `lossScales` are given, backward into the draft's gradients.
 * @param lossScales what step s's summed loss is multiplied by: γ^s over the step's supervised rows
 */
export function trainingTimeTest(
  context: TttContext,
  inputs: DraftInputs,
  lossScales?: readonly number[],
): StepMetrics[] {
  return scope(() => {
    const tape = new Tape(lossScales !== undefined);
    const metrics = forward(tape, context, inputs, lossScales);
    tape.backward();
    return metrics;
  });
}

function forward(
  tape: Tape,
  context: TttContext,
  inputs: DraftInputs,
  lossScales: readonly number[] | undefined,
): StepMetrics[] {
  const { draft } = context;
  const { plan, batch } = inputs;
  const teacher = ops.linearSoftmax(inputs.teacherStates, context.teacherHead);
  const alive = new Uint8Array(batch.inputIds.length).fill(1);
  const metrics: StepMetrics[] = [];
  let prefix: StepKeys | undefined;
  const diagonal: { keys: StepKeys; slots: Int32Array }[] = [];
  let hidden = tape.constant(inputs.features);

  for (const [s, rows] of plan.steps.entries()) {
    const empty = { loss: 0, rows: 0, correct: 0, candidates: rows.candidates, chains: 0 };
    if (rows.slots.length === 0) {
      metrics.push(empty);
      continue;
    }
    let attentionInput;
    if (s === 0) {
      // Keys and values for the whole prefix; queries, and everything after attention, for A[0] only.
      hidden = draft.project(tape, inputs.features);
      attentionInput = draft.attentionInput(tape, embeddings(context, inputs, plan.prefix, 1), hidden);
      const tables = draft.rotaryTables(positions(inputs, plan.prefix));
      prefix = draft.keys(tape, attentionInput, tables);
      if (rows.slots.length < plan.prefix.length) {
        const ids = indexTensor(rows.previous);
        hidden = tape.gatherRows(hidden, ids);
        attentionInput = tape.gatherRows(attentionInput, ids);
      }
    } else {
      if (rows.slots.length < plan.steps[s - 1]!.slots.length) {
        hidden = tape.gatherRows(hidden, indexTensor(rows.previous));
      }
      attentionInput = draft.attentionInput(tape, embeddings(context, inputs, rows.slots, 1 + s), hidden);
    }
    const tables = draft.rotaryTables(positions(inputs, rows.slots), s);
    if (s > 0) diagonal.push({ keys: draft.keys(tape, attentionInput, tables), slots: rows.slots });
    const extras = diagonal.map(({ keys, slots }): ExtraKeyVariables => ({
      ...keys,
      rows: indexTensor(rowsAmong(rows.slots, slots)),
    }));
    const ranges = {
      begin: indexTensor(plan.ranges[s]!.begin),
      end: indexTensor(plan.ranges[s]!.end),
    };
    const queries = draft.queries(tape, attentionInput, tables);
    hidden = draft.layer(tape, hidden, queries, prefix!, ranges, extras);
    if (rows.supervised.length === 0) {
      metrics.push(empty);
      alive.fill(0);
      continue;
    }
    const supervised =
      rows.supervised.length < rows.slots.length
        ? tape.gatherRows(hidden, indexTensor(rows.supervised))
        : hidden;
    const { loss, argmax } = tape.linearSoftCrossEntropy(
      draft.finalNorm(tape, supervised),
      draft.lmHead.weight,
      teacher,
      indexTensor(rows.teacher),
      lossScales?.[s] ?? 0,
    );
    const { correct, chains } = score(context.vocabulary, inputs, rows, toInts(argmax), alive);
    metrics.push({ ...empty, loss, rows: rows.supervised.length, correct, chains });
  }
  return metrics;
}

/** Counts right predictions, and the chains that are still unbroken; `alive` is updated in place. */
function score(
  vocabulary: DraftVocabulary,
  inputs: DraftInputs,
  rows: StepRows,
  choices: Int32Array,
  alive: Uint8Array,
): { correct: number; chains: number } {
  let correct = 0;
  let chains = 0;
  const next = new Uint8Array(alive.length);
  rows.supervised.forEach((row, i) => {
    const right = vocabulary.targetIds[choices[i]!] === inputs.teacherChoices[rows.teacher[i]!];
    if (!right) return;
    correct += 1;
    const slot = rows.slots[row]!;
    next[slot] = alive[slot]!;
    chains += next[slot];
  });
  alive.set(next);
  return { correct, chains };
}

/** Input embeddings of the tokens `ahead` of the slots. */
function embeddings(context: TttContext, inputs: DraftInputs, slots: Int32Array, ahead: number): Tensor {
  const { mergedEmbeddings, batch } = inputs;
  if (mergedEmbeddings) return ops.gatherRows(mergedEmbeddings, indexTensor(slots.map((i) => i + ahead)));
  return ops.gatherRows(context.embedTokens, indexTensor(slots.map((i) => batch.inputIds[i + ahead]!)));
}

/** [axes, n] */
function positions(inputs: DraftInputs, slots: Int32Array): Tensor {
  const { axes, positionIds, inputIds } = inputs.batch;
  const data = new Float32Array(axes * slots.length);
  for (let axis = 0; axis < axes; axis++) {
    slots.forEach((slot, i) => {
      data[axis * slots.length + i] = positionIds[axis * inputIds.length + slot]!;
    });
  }
  return tensor(data, [axes, slots.length]);
}

/** Row of each of `slots` among `among`; both ascending, `slots` a subset. */
function rowsAmong(slots: Int32Array, among: Int32Array): Int32Array {
  let row = 0;
  return slots.map((slot) => {
    while (among[row] !== slot) row++;
    return row;
  });
}

/** 1 + Σ_k of the share of slots whose first k predictions are all right. */
export function simulatedAcceptLength(metrics: readonly StepMetrics[], chainLength = metrics.length): number {
  const slots = metrics[0]?.candidates ?? 0;
  if (slots === 0) return 1;
  return 1 + metrics.slice(0, chainLength).reduce((sum, step) => sum + step.chains / slots, 0);
}

/** Totals per step over batches; `steps` long even where there are none. */
export function sumMetrics(results: readonly StepMetrics[][], steps: number): StepMetrics[] {
  return Array.from({ length: steps }, (_, s) => {
    const total: StepMetrics = { loss: 0, rows: 0, correct: 0, candidates: 0, chains: 0 };
    for (const metrics of results) {
      for (const key of Object.keys(total) as (keyof StepMetrics)[]) total[key] += metrics[s]![key];
    }
    return total;
  });
}
