import { Tape, type ExtraKeyVariables, type Variable } from '../autograd.js';
import { ops, scopeOfPieces, tensor, toFloats, toInts, type Pieces, type Tensor } from '../tensor.js';
import type { Eagle3Draft, StepKeys } from './eagle3.js';
import { indexTensor, type DraftInputs } from './inputs.js';
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
): Pieces<StepMetrics[]> {
  return scopeOfPieces(function* () {
    const tape = new Tape(lossScales !== undefined);
    const read = yield* forward(tape, context, inputs, lossScales);
    yield* tape.backward();
    // Last: on a GPU reading waits for everything that was asked for before.
    return read();
  });
}

/** Supervised rows of one TTT step, waiting for the head. */
interface HeadRows {
  step: number;
  /** [|L[s]|, H]: before the final norm. */
  hidden: Variable;
}

function* forward(
  tape: Tape,
  context: TttContext,
  inputs: DraftInputs,
  lossScales: readonly number[] | undefined,
): Pieces<() => StepMetrics[]> {
  const { draft } = context;
  const { plan } = inputs;
  const head: HeadRows[] = [];
  let prefix: StepKeys | undefined;
  let embedded: Variable | undefined;
  const diagonal: { keys: StepKeys; slots: Int32Array }[] = [];
  let hidden = tape.constant(inputs.features);

  for (const [s, rows] of plan.steps.entries()) {
    if (rows.slots.length === 0) break; // later steps have none either
    yield;
    embedded ??= draft.embeddedQueriesAndKeys(tape, embeddings(context, inputs, plan.tokens));
    const tables = draft.rotaryTables(positions(inputs, rows.slots), s);
    let queries: Variable;
    if (s === 0) {
      // Keys and values for the whole prefix; queries, and everything after attention, for A[0] only.
      hidden = draft.project(tape, inputs.features);
      let normed = draft.normHidden(tape, hidden);
      const next = plan.prefix.map((slot) => slot + 1);
      prefix = draft.keys(
        tape,
        draft.embeddedKeys(tape, embeddings(context, inputs, next)),
        normed,
        draft.rotaryTables(positions(inputs, plan.prefix)),
      );
      if (rows.slots.length < plan.prefix.length) {
        const ids = indexTensor(rows.previous);
        hidden = tape.gatherRows(hidden, ids);
        normed = tape.gatherRows(normed, ids);
      }
      const own = tape.gatherRows(embedded, indexTensor(rows.tokens), draft.queryColumns);
      queries = draft.queries(tape, own, normed, tables);
    } else {
      if (rows.slots.length < plan.steps[s - 1]!.slots.length) {
        hidden = tape.gatherRows(hidden, indexTensor(rows.previous));
      }
      const own = tape.gatherRows(embedded, indexTensor(rows.tokens));
      const both = draft.queriesAndKeys(tape, own, draft.normHidden(tape, hidden), tables);
      queries = both.q;
      diagonal.push({ keys: both.keys, slots: rows.slots });
    }
    const extras = diagonal.map(({ keys, slots }): ExtraKeyVariables => ({
      ...keys,
      rows: indexTensor(rowsAmong(rows.slots, slots)),
    }));
    const ranges = {
      begin: indexTensor(plan.ranges[s]!.begin),
      end: indexTensor(plan.ranges[s]!.end),
    };
    hidden = draft.layer(tape, hidden, queries, prefix!, ranges, extras);
    const { length } = rows.supervised;
    if (length === 0) continue;
    const all = length === rows.slots.length;
    head.push({ step: s, hidden: all ? hidden : tape.gatherRows(hidden, indexTensor(rows.supervised)) });
  }
  return headLosses(tape, context, inputs, head, lossScales);
}

/**
 * Head, loss and metrics of all steps at once: teacher forcing makes no step depend on another's logits, and the head's
 * products are the step's largest.
 */
function headLosses(
  tape: Tape,
  context: TttContext,
  inputs: DraftInputs,
  head: readonly HeadRows[],
  lossScales: readonly number[] | undefined,
): () => StepMetrics[] {
  const { steps } = inputs.plan;
  if (head.length === 0) return () => metricsOf(context, inputs, new Float32Array(), new Int32Array());
  const { draft } = context;
  const counts = head.map(({ step }) => steps[step]!.supervised.length);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const scales = new Float32Array(total);
  const teacherRows = new Int32Array(total);
  let at = 0;
  for (const { step } of head) {
    const { teacher } = steps[step]!;
    teacherRows.set(teacher, at);
    scales.fill(lossScales?.[step] ?? 0, at, (at += teacher.length));
  }
  const { losses, argmax } = tape.linearSoftCrossEntropy(
    draft.finalNorm(tape, tape.catRows(head.map((rows) => rows.hidden))),
    draft.lmHead.weight,
    inputs.teacher,
    indexTensor(teacherRows),
    tensor(scales, [total]),
  );
  return () => metricsOf(context, inputs, toFloats(losses), toInts(argmax));
}

/** Sums of the steps from the loss and the draft's choice of each supervised row, step after step. */
function metricsOf(
  context: TttContext,
  inputs: DraftInputs,
  loss: Float32Array,
  choices: Int32Array,
): StepMetrics[] {
  const { steps } = inputs.plan;
  const metrics = steps.map(({ candidates }) => ({ loss: 0, rows: 0, correct: 0, candidates, chains: 0 }));
  let alive = new Uint8Array(inputs.batch.inputIds.length).fill(1);
  let at = 0;
  for (const [s, rows] of steps.entries()) {
    const next = new Uint8Array(alive.length);
    const step = metrics[s]!;
    step.rows = rows.supervised.length;
    rows.supervised.forEach((row, i) => {
      step.loss += loss[at]!;
      const right = context.vocabulary.targetIds[choices[at]!] === inputs.teacherChoices[rows.teacher[i]!];
      at += 1;
      if (!right) return;
      step.correct += 1;
      const slot = rows.slots[row]!;
      next[slot] = alive[slot]!;
      step.chains += next[slot];
    });
    alive = next;
  }
  return metrics;
}

/** Input embeddings of the tokens at packed indices. */
function embeddings(context: TttContext, inputs: DraftInputs, tokens: Int32Array): Tensor {
  const { mergedEmbeddings, batch } = inputs;
  if (mergedEmbeddings) return ops.gatherRows(mergedEmbeddings, indexTensor(tokens));
  return ops.gatherRows(context.embedTokens, indexTensor(tokens.map((t) => batch.inputIds[t]!)));
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
