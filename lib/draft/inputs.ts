import { pack, type PackedBatch } from '../data/packing.js';
import type { Sample, Target } from '../models/target.js';
import type { ServingContract } from '../serving/contract.js';
import { dispose, keep, ops, scope, tensor, toInts, type Tensor } from '../tensor.js';
import { candidateRows, planRows, type RowPlan, type RowRules } from './rows.js';
import type { DraftVocabulary } from './vocabulary.js';

/** What training needs of the target for one packed batch: the same whether it was computed just now or read from files. */
export interface DraftInputs {
  batch: PackedBatch;
  plan: RowPlan;
  /** [|prefix|, aux·H]: aux hidden states at the prefix slots. */
  features: Tensor;
  /** [R, Vd]: the target's distribution over the draft vocabulary at the teacher rows. */
  teacher: Tensor;
  /** [R]: target ids that the target chooses there. */
  teacherChoices: Int32Array;
  /** [N, H]: merged input embeddings, where the contract asks for them and there are media. */
  mergedEmbeddings?: Tensor;
}

export interface InputRules extends RowRules {
  outOfVocabulary: 'mask' | 'keep';
  contract: ServingContract;
}

/** Runs the target over the samples and keeps the rows that can reach the loss. The caller disposes the result. */
export function draftInputs(
  target: Target,
  samples: readonly Sample[],
  vocabulary: DraftVocabulary,
  rules: InputRules,
): DraftInputs {
  const { contract } = rules;
  const batch = pack(samples, contract.positions);
  const candidates = candidateRows(batch, rules);
  const merged = contract.multimodalEmbedding === 'merged' && samples.some((s) => s.media.length > 0);
  const { choices, ...tensors } = scope(() => {
    const states = target.prefill(samples, {
      auxLayerIds: contract.auxLayerIds,
      deepstack: contract.deepstack,
      inputEmbeddings: merged,
    });
    const last = ops.gatherRows(states.lastHiddenStates, indexTensor(candidates.teacher));
    const { argmax, probabilities } = ops.linearTeacher(
      last,
      target.lmHead,
      indexTensor(vocabulary.targetIds),
    );
    return {
      features: ops.gatherRows(states.auxHiddenStates, indexTensor(candidates.prefix)),
      teacher: probabilities,
      choices: toInts(argmax),
      ...(merged && { mergedEmbeddings: states.inputEmbeddings! }),
    };
  });
  Object.values(tensors).forEach(keep);
  const draftIds = rules.outOfVocabulary === 'mask' ? vocabulary.draftIds : undefined;
  return { ...tensors, batch, teacherChoices: choices, plan: planRows(batch, candidates, choices, draftIds) };
}

export function disposeInputs(inputs: DraftInputs): void {
  dispose([inputs.features, inputs.teacher, inputs.mergedEmbeddings]);
}

/** int32 tensor of row numbers. */
export function indexTensor(rows: Int32Array): Tensor {
  return tensor(rows, [rows.length]);
}
