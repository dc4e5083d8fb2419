import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Eagle3Draft, eagle3Shapes, type Eagle3Config } from '../../lib/draft/eagle3.js';
import { DraftVocabulary } from '../../lib/draft/vocabulary.js';
import { inverseFrequencies } from '../../lib/models/rotary.js';
import type { PrefillOptions, Sample, Target } from '../../lib/models/target.js';
import { native } from '../../lib/native.js';
import { dispose, keep, narrow, ops, scope, tensor, toFloats } from '../../lib/tensor.js';
import { Eagle3Trainer, type TrainerOptions } from '../../lib/training/trainer.js';
import { denseTtt, type DenseResult, type DenseSequence } from '../helpers/dense-ttt.js';
import { Draws } from '../helpers/random.js';

interface Case {
  seed: number;
  lengths: number[];
  axes: 1 | 3;
  mask: 'serving' | 'specforge';
  normalization: 'tokens' | 'specforge';
  outOfVocabulary: 'mask' | 'keep';
  multimodalEmbedding: 'merged' | 'placeholder';
  interleaved: boolean;
  steps: number;
  heads: number;
  kvHeads: number;
  headDim: number;
}

const base: Case = {
  seed: 1,
  lengths: [37],
  axes: 1,
  mask: 'serving',
  normalization: 'tokens',
  outOfVocabulary: 'mask',
  multimodalEmbedding: 'placeholder',
  interleaved: false,
  steps: 7,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
};

const vocabSize = 50;
const hiddenSize = 24;

/** A world of random records, target states and draft weights, seen by the trainer and by the dense reference. */
function setUp(c: Case) {
  const draws = new Draws(c.seed);
  const rotary = {
    theta: 1e4,
    headDim: c.headDim,
    partialRotaryFactor: 1,
    ...(c.axes === 3 && { mropeSection: [2, 1, 1], mropeInterleaved: c.interleaved }),
  };
  const config: Eagle3Config = {
    hiddenSize,
    intermediateSize: 40,
    numHeads: c.heads,
    numKeyValueHeads: c.kvHeads,
    headDim: c.headDim,
    rmsNormEps: 1e-6,
    vocabSize,
    draftVocabSize: 20,
    numAuxHiddenStates: 3,
    maxPositionEmbeddings: 512,
    rotary,
    axes: c.axes,
  };
  const ids = Array.from({ length: vocabSize }, (_, i) => i).sort(() => draws.uniform() - 0.5);
  const vocabulary = new DraftVocabulary(
    ids.slice(0, 20).sort((a, b) => a - b),
    vocabSize,
  );
  const parameters = Object.fromEntries(
    Object.entries(eagle3Shapes(config)).map(([name, shape]) => [
      name,
      {
        shape,
        data: draws.normals(
          shape.reduce((a, b) => a * b),
          0.3,
        ),
      },
    ]),
  );
  const embedTokens = draws.normals(vocabSize * hiddenSize);
  const lmHead = draws.normals(vocabSize * hiddenSize, 0.6);
  // A head that favours the draft vocabulary, so that both kinds of target choices come up often.
  vocabulary.targetIds.forEach((id) => {
    for (let d = 0; d < hiddenSize; d++) lmHead[id * hiddenSize + d]! *= 1.5;
  });

  const sequences = c.lengths.map((length, b): DenseSequence & { last: Float32Array; sample: Sample } => {
    const inputIds = Int32Array.from({ length }, () => draws.int(0, vocabSize));
    const assistant = new Uint8Array(length);
    for (let t = 0, on = false; t < length; t++) {
      if (draws.uniform() < 0.15) on = !on;
      assistant[t] = on ? 1 : 0;
    }
    const positions = Array.from({ length: c.axes }, (_, axis) =>
      Array.from({ length }, (_, t) => (t > 8 && t < 15 ? 8 + ((t * (axis + 1)) % 5) : t)),
    );
    const last = draws.normals(length * hiddenSize);
    const embeddings = draws.normals(length * hiddenSize);
    const merged = c.multimodalEmbedding === 'merged';
    inputIds.forEach((id, t) => {
      const isMedia = merged && t > 8 && t < 15;
      if (!isMedia)
        embeddings.set(embedTokens.subarray(id * hiddenSize, (id + 1) * hiddenSize), t * hiddenSize);
    });
    const targetLogits = new Float64Array(length * vocabSize);
    for (let t = 0; t < length; t++) {
      for (let v = 0; v < vocabSize; v++) {
        for (let d = 0; d < hiddenSize; d++) {
          targetLogits[t * vocabSize + v]! += last[t * hiddenSize + d]! * lmHead[v * hiddenSize + d]!;
        }
      }
    }
    return {
      ids: inputIds,
      assistant,
      positions,
      features: draws.normals(length * 3 * hiddenSize),
      embeddings,
      targetLogits,
      last,
      sample: {
        id: String(b),
        inputIds,
        lossMask: assistant,
        positionIds: Float32Array.from(positions.flat()),
        axes: c.axes,
        positionDelta: 0,
        media: merged ? [{ kind: 'image', tokens: 6 }] : [],
        modality: merged ? 'image' : 'text',
      },
    };
  });

  const rows = (samples: readonly Sample[], field: 'features' | 'last' | 'embeddings', width: number) => {
    const parts = samples.map((sample) => sequences[Number(sample.id)]![field]);
    const data = Float32Array.from(parts.flatMap((part) => Array.from(part)));
    return tensor(data, [data.length / width, width]);
  };
  const target = {
    embedTokens: keep(tensor(embedTokens, [vocabSize, hiddenSize])),
    lmHead: keep(tensor(lmHead, [vocabSize, hiddenSize])),
    prefill: (samples: readonly Sample[], options: PrefillOptions) => ({
      auxHiddenStates: rows(samples, 'features', 3 * hiddenSize),
      lastHiddenStates: rows(samples, 'last', hiddenSize),
      ...(options.inputEmbeddings && { inputEmbeddings: rows(samples, 'embeddings', hiddenSize) }),
    }),
  } as unknown as Target;

  const draft = new Eagle3Draft(
    config,
    Object.fromEntries(
      Object.entries(parameters).map(([name, { shape, data }]) => [name, tensor(data, shape)]),
    ),
    { compute: 'float32', trained: true },
  );
  const options: TrainerOptions = {
    steps: c.steps,
    decay: 0.8,
    mask: c.mask,
    normalization: c.normalization,
    outOfVocabulary: c.outOfVocabulary,
    gradClip: 1e9,
    optimizer: { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0 },
    contract: {
      engine: 'sglang',
      auxLayerIds: [2, 3, 5],
      multimodalEmbedding: c.multimodalEmbedding,
      positions: c.axes === 3 ? 'mrope' : 'index',
      deepstack: 'before',
      positionRule: 'engines',
    },
  };
  if (c.axes === 1) {
    sequences.forEach((seq) => {
      seq.positions[0] = Array.from(seq.ids.keys());
    });
  }
  const trainer = new Eagle3Trainer(target, draft, vocabulary, options);
  const frequencies = inverseFrequencies(rotary);
  const frequencyAxis = Array.from(frequencies, (_, f) => {
    if (c.axes === 1) return 0;
    if (c.interleaved) return f % 3 !== 0 && f < 3 ? f : 0;
    return [0, 0, 1, 2][f]!;
  });
  const reference = () =>
    denseTtt(sequences, {
      hiddenSize,
      numHeads: c.heads,
      numKeyValueHeads: c.kvHeads,
      eps: 1e-6,
      vocabSize,
      draftTargets: vocabulary.targetIds,
      steps: c.steps,
      decay: 0.8,
      mask: c.mask,
      normalization: c.normalization,
      outOfVocabulary: c.outOfVocabulary,
      inverseFrequencies: frequencies,
      frequencyAxis,
      parameters,
    });
  return {
    trainer,
    draft,
    samples: sequences.map((seq) => seq.sample),
    reference,
    gradients: () => Object.fromEntries([...draft.parameters].map((p) => [p.name, toFloats(p.grad)])),
    dispose: () => {
      trainer.dispose();
      draft.dispose();
      dispose([target.embedTokens, target.lmHead]);
    },
  };
}

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  return Math.sqrt(difference) / Math.sqrt(size);
}

function expectEqual(
  world: ReturnType<typeof setUp>,
  outcome: { loss: number; stepLoss: number[]; accuracy: number[]; acceptLength: number },
  dense: DenseResult,
) {
  expect(relativeError([outcome.loss], [dense.loss])).toBeLessThan(1e-5);
  expect(relativeError(outcome.stepLoss, dense.stepLoss)).toBeLessThan(1e-5);
  expect(outcome.accuracy).toEqual(dense.accuracy);
  expect(outcome.acceptLength).toBeCloseTo(dense.acceptLength, 10);
  for (const [name, gradient] of Object.entries(world.gradients())) {
    expect(relativeError(gradient, dense.gradients[name]!), name).toBeLessThan(1e-5);
  }
}

let before: number;
beforeEach(() => {
  before = native.memory().liveTensors;
});
afterEach(() => {
  expect(native.memory().liveTensors).toBe(before);
});

describe('compacted float32 training-time test equals the dense float64 reference', () => {
  const cases: [string, Partial<Case>][] = [
    ['1-D positions', {}],
    ['another seed and shape', { seed: 2, lengths: [53], heads: 6, kvHeads: 3, headDim: 16 }],
    ['one kv head, odd length', { seed: 3, lengths: [29], heads: 3, kvHeads: 1 }],
    ['3-D sectioned positions', { seed: 4, axes: 3 }],
    ['3-D interleaved positions', { seed: 5, axes: 3, interleaved: true }],
    ['packed sequences', { seed: 6, lengths: [21, 40, 17], axes: 3 }],
    ['specforge mask and normalisation', { seed: 7, mask: 'specforge', normalization: 'specforge' }],
    ['specforge mask, packed', { seed: 8, lengths: [30, 25], mask: 'specforge' }],
    ['specforge normalisation', { seed: 9, lengths: [25, 31], normalization: 'specforge' }],
    ['out-of-vocabulary rows kept', { seed: 10, outOfVocabulary: 'keep' }],
    ['merged embeddings', { seed: 11, axes: 3, multimodalEmbedding: 'merged' }],
    ['one step', { seed: 12, steps: 1 }],
    ['three steps, one long record among short ones', { seed: 13, steps: 3, lengths: [9, 90, 11] }],
  ];
  test.each(cases)('%s', (_, change) => {
    const world = setUp({ ...base, ...change });
    const outcome = world.trainer.step([world.samples], 0);
    expectEqual(world, outcome, world.reference());
    world.dispose();
  });
});

test('any split into micro-batches gives the same gradient', () => {
  const world = setUp({ ...base, seed: 21, lengths: [31, 24, 40, 18], axes: 3 });
  const dense = world.reference();
  const [a, b, c, d] = world.samples as [Sample, Sample, Sample, Sample];
  for (const split of [
    [[a, b, c, d]],
    [[a], [b], [c], [d]],
    [
      [c, a],
      [d, b],
    ],
    [[d], [a, c, b]],
  ]) {
    expectEqual(world, world.trainer.step(split, 0), dense);
  }
  world.dispose();
});

test('evaluation gives the same metrics and leaves no gradient', async () => {
  const world = setUp({ ...base, seed: 22, lengths: [31, 24] });
  const dense = world.reference();
  world.draft.parameters.zeroGrad();
  const metrics = await world.trainer.evaluate(
    (async function* () {
      for (const sample of world.samples) yield await Promise.resolve([sample]);
    })(),
  );
  expect(relativeError(metrics.stepLoss, dense.stepLoss)).toBeLessThan(1e-5);
  expect(metrics.accuracy).toEqual(dense.accuracy);
  expect(Object.values(world.gradients()).every((g) => g.every((v) => v === 0))).toBe(true);
  world.dispose();
});

test('a record without supervised slots trains nothing and fails nothing', () => {
  const world = setUp({ ...base, seed: 23 });
  world.samples[0]!.lossMask.fill(0);
  const outcome = world.trainer.step([world.samples], 0);
  expect(outcome).toMatchObject({ loss: 0, supervised: 0, gradNorm: 0, skipped: false });
  world.dispose();
});

test('a non-finite gradient skips the update', () => {
  const world = setUp({ ...base, seed: 24 });
  const fc = world.draft.parameters.get('fc.weight')!;
  scope(() => {
    narrow(fc.value, 0, 0, 1).fill(NaN);
  });
  const norm = toFloats(world.draft.parameters.get('norm.weight')!.value);
  const outcome = world.trainer.step([world.samples], 0.1);
  expect(outcome.skipped).toBe(true);
  expect(world.trainer.optimizer.steps).toBe(0);
  expect(toFloats(world.draft.parameters.get('norm.weight')!.value)).toEqual(norm);
  expect(ops.gradNorm([fc.grad])).toBeNaN();
  world.dispose();
});
