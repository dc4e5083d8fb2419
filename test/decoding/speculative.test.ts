import { describe, expect, it, onTestFinished } from 'vitest';
import { Tape } from '../../lib/autograd.js';
import { DraftDecoder } from '../../lib/decoding/draft-decoder.js';
import { generateGreedy } from '../../lib/decoding/generate.js';
import { generateSpeculative } from '../../lib/decoding/speculative.js';
import { Eagle3Draft, initialWeights, type Eagle3Config } from '../../lib/draft/eagle3.js';
import { DraftVocabulary } from '../../lib/draft/vocabulary.js';
import type { Target, TargetInfo } from '../../lib/models/target.js';
import { native } from '../../lib/native.js';
import { resolveContract, type ServingContract, type ServingOptions } from '../../lib/serving/contract.js';
import { dispose, keep, narrow, ops, scope, tensor, toInts, type Tensor } from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { cases, checkpoints, expectedCase, loadTarget } from '../models/qwen2_5_vl/checkpoints.js';

function configFor(info: TargetInfo, contract: ServingContract, vocabulary: DraftVocabulary): Eagle3Config {
  return {
    ...info,
    draftVocabSize: vocabulary.size,
    numAuxHiddenStates: contract.auxLayerIds.length,
    axes: contract.positions === 'mrope' ? 3 : 1,
  };
}

/** A target, and a random draft that shares its head: some of its proposals are right. */
function open(checkpoint: string, serving: ServingOptions, seed: number) {
  const target: Target = loadTarget(checkpoint);
  const { info } = target;
  const aux = info.numLayers < 6 ? { auxLayerIds: [1, 2, 3] } : {};
  const contract = resolveContract({ ...aux, ...serving }, info);
  const vocabulary = new DraftVocabulary(
    Array.from({ length: info.vocabSize }, (_, id) => id).filter((id) => id % 4 !== 3),
    info.vocabSize,
  );
  const config = configFor(info, contract, vocabulary);
  const weights = initialWeights(
    config,
    { seed, std: 0.15, lmHead: target.lmHead, finalNorm: target.finalNorm },
    vocabulary,
  );
  const decoder = new DraftDecoder(config, weights, vocabulary, target.embedTokens, 'float32');
  const draft = new Eagle3Draft(config, weights, { compute: 'float32', trained: false });
  onTestFinished(() => {
    decoder.dispose();
    draft.dispose();
    target.dispose();
  });
  return { target, contract, decoder, draft, vocabulary };
}

const servings: ServingOptions[] = [
  { engine: 'sglang' },
  { engine: 'vllm' },
  { engine: 'vllm', positions: 'mrope' },
];

describe.each(checkpoints)('speculative text of %s is the text of the target', (checkpoint) => {
  it.each(cases)('%s', (name) => {
    const { sample } = expectedCase(checkpoint, name);
    servings.forEach((serving, seed) => {
      const { target, contract, decoder } = open(checkpoint, serving, seed);
      const end = generateGreedy(target, sample, { maxNewTokens: 12, eosTokenIds: [] }).ids[11]!;
      for (const chainLength of [1, 5]) {
        for (const eosTokenIds of [[], [end]]) {
          const options = { maxNewTokens: 24, eosTokenIds };
          const plain = generateGreedy(target, sample, options);
          const fast = generateSpeculative(target, decoder, contract, sample, { ...options, chainLength });
          expect([...fast.ids]).toEqual([...plain.ids]);
          expect(fast.finish).toBe(plain.finish);
          const accepted = fast.acceptedByPosition.reduce((a, b) => a + b, 0);
          // One token by the prefill; a round gives its accepted tokens and one more, unless the text ends before it.
          expect(fast.rounds + accepted + 1 - fast.ids.length).toBeOneOf([0, 1]);
          expect([...fast.acceptedByPosition]).toEqual([...fast.acceptedByPosition].sort((a, b) => b - a));
        }
      }
    });
  });
});

it('a draft that knows the text is accepted whole', () => {
  const { target, contract, decoder } = open('untied', { engine: 'sglang' }, 1);
  const { sample } = expectedCase('untied', 'mixed');
  const { ids } = generateGreedy(target, sample, { maxNewTokens: 31, eosTokenIds: [] });
  let at = 1;
  const oracle = Object.create(decoder) as DraftDecoder;
  Object.assign(oracle, {
    reset: () => undefined,
    propose: (context: { positions: Float32Array }, count: number) => {
      at += context.positions.length / 3 > 10 ? 0 : context.positions.length / 3;
      return Int32Array.from({ length: count }, (_, k) => ids[at + k] ?? 0);
    },
  });
  const options = { maxNewTokens: 31, eosTokenIds: [], chainLength: 5 };
  const {
    ids: fast,
    rounds,
    acceptedByPosition,
  } = generateSpeculative(target, oracle, contract, sample, options);
  expect([...fast]).toEqual([...ids]);
  expect(rounds).toBe(5);
  expect(acceptedByPosition).toEqual([5, 5, 5, 5, 5]);
});

describe('the draft decoder proposes what the training-time formulas give', () => {
  it.each([1, 2, 3])('seed %i', (seed) => {
    const { decoder, draft, target, vocabulary } = open('untied', servings[seed % 3]!, seed);
    const draws = new Draws(seed);
    const { hiddenSize, axes, numAuxHiddenStates } = { ...draft.config };
    const count = 4;
    const random = (rows: number, width: number) => keep(tensor(draws.normals(rows * width), [rows, width]));
    const slots = 23;
    const features = random(slots, numAuxHiddenStates * hiddenSize);
    const embeddings = random(slots, hiddenSize);
    const positions = Float32Array.from(
      { length: axes * slots },
      (_, i) => (i % slots) + Math.floor(i / slots),
    );
    // Read in three parts, as a prompt and two rounds are; each time proposals follow, and are forgotten.
    decoder.reset();
    for (const [from, to] of [
      [0, 15],
      [15, 16],
      [16, slots],
    ] as const) {
      const rows = to - from;
      const part = (t: Tensor) => narrow(t, 0, from, rows);
      const partPositions = Float32Array.from({ length: axes * rows }, (_, i) => {
        return positions[Math.floor(i / rows) * slots + from + (i % rows)]!;
      });
      const proposals = scope(() =>
        decoder.propose(
          { features: part(features), embeddings: part(embeddings), positions: partPositions },
          count,
        ),
      );
      expect([...proposals]).toEqual(
        formulas(draft, target, vocabulary, { features, embeddings, positions, slots }, to, count),
      );
    }
    dispose([features, embeddings]);
  });
});

/** Proposals after the first `to` slots: the steps of `Eagle3Draft` for the last slot, fed with their own choices. */
function formulas(
  draft: Eagle3Draft,
  target: Target,
  vocabulary: DraftVocabulary,
  all: { features: Tensor; embeddings: Tensor; positions: Float32Array; slots: number },
  to: number,
  count: number,
): number[] {
  return scope(() => {
    const tape = new Tape(false);
    const { axes } = draft.config;
    const upTo = Float32Array.from({ length: axes * to }, (_, i) => {
      return all.positions[Math.floor(i / to) * all.slots + (i % to)]!;
    });
    const last = Float32Array.from({ length: axes }, (_, axis) => upTo[axis * to + to - 1]!);
    const lastRow = (t: Tensor) => narrow(t, 0, to - 1, 1);
    const one = (value: number) => tensor(Int32Array.of(value), [1]);
    const whole = draft.project(tape, narrow(all.features, 0, 0, to));
    const embeddings = narrow(all.embeddings, 0, 0, to);
    const prefix = draft.keys(
      tape,
      draft.embeddedKeys(tape, embeddings),
      draft.normHidden(tape, whole),
      draft.rotaryTables(tensor(upTo, [axes, to])),
    );
    let hidden = tape.constant(lastRow(whole.value));
    let embedding = lastRow(embeddings);
    const extras: { k: ReturnType<Tape['constant']>; v: ReturnType<Tape['constant']>; rows: Tensor }[] = [];
    const proposals: number[] = [];
    for (let s = 0; s < count; s++) {
      const tables = draft.rotaryTables(tensor(last, [axes, 1]), s);
      if (s > 0) embedding = ops.gatherRows(target.embedTokens, one(proposals.at(-1)!));
      const embedded = draft.embeddedQueriesAndKeys(tape, embedding);
      const { q, keys } = draft.queriesAndKeys(tape, embedded, draft.normHidden(tape, hidden), tables);
      if (s > 0) extras.push({ ...keys, rows: one(0) });
      const ranges = { begin: one(0), end: one(to) };
      hidden = draft.layer(tape, hidden, q, prefix, ranges, extras);
      const logits = draft.lmHead.forward(tape, draft.finalNorm(tape, hidden)).value;
      proposals.push(vocabulary.targetIds[toInts(ops.argmax(logits))[0]!]!);
    }
    return proposals;
  });
}

it('speculative decoding leaves no tensor behind', () => {
  const { target, contract, decoder } = open('tied', { engine: 'sglang' }, 5);
  const { sample } = expectedCase('tied', 'images');
  const run = () =>
    generateSpeculative(target, decoder, contract, sample, {
      maxNewTokens: 12,
      eosTokenIds: [],
      chainLength: 3,
    });
  run();
  const before = native.memory().liveTensors;
  run();
  expect(native.memory().liveTensors).toBe(before);
});
