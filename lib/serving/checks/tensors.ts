import { eagle3Shapes } from '../../draft/eagle3.js';
import { openCheckpoint } from '../../hub/safetensors.js';
import { readDraftConfig } from '../draft-config.js';
import {
  alignedBytes,
  CONFIG_FILE,
  canonicalName,
  type DraftTensor,
  type DraftWeights,
} from '../draft-files.js';
import { embeddingName } from '../target-identity.js';
import { scope, type Tensor } from '../../tensor.js';
import { ok, show, wrong, type Check, type Finding, type Subject } from './subject.js';

const EMBEDDING = 'embed_tokens.weight';
const FLOATS = new Set(['BF16', 'F16', 'F32']);
const MAPS: Readonly<Record<string, string>> = { d2t: 'I64', t2d: 'BOOL' };

function shapes({ config }: Subject): Record<string, number[]> {
  return eagle3Shapes(readDraftConfig(config(), CONFIG_FILE));
}

/** Names do not depend on sizes, which may be missing. */
const NAMES = Object.keys(
  eagle3Shapes({
    hiddenSize: 1,
    intermediateSize: 1,
    numHeads: 1,
    numKeyValueHeads: 1,
    headDim: 1,
    rmsNormEps: 1,
    vocabSize: 1,
    draftVocabSize: 1,
    numAuxHiddenStates: 1,
    maxPositionEmbeddings: 1,
    rotary: { theta: 1, headDim: 1, partialRotaryFactor: 1 },
    axes: 1,
  }),
);

function names({ weights }: Subject): Finding {
  const { tensors, checkpoint } = weights();
  const known = new Set([...NAMES, ...Object.keys(MAPS), EMBEDDING]);
  const problems: string[] = [];
  const list = (title: string, found: readonly string[], consequence: string): void => {
    if (found.length > 0) problems.push(`${title} ${found.join(', ')}: ${consequence}`);
  };
  const published = checkpoint.names();
  list(
    'missing',
    NAMES.filter((name) => !tensors.has(name)),
    'SGLang says nothing and drafts with random or uninitialised weights; vLLM also starts',
  );
  list(
    'unknown',
    [...tensors.keys()].filter((name) => !known.has(name)),
    'SGLang ignores them without a word; vLLM stops at start',
  );
  list(
    'under the old prefix',
    published.filter((name) => /^(model\.)?layers\.0\./.test(name)),
    'SGLang before May 2026 drops layers.0.* without a word and drafts with random weights; expected midlayer.*',
  );
  list(
    'with the prefix model.',
    published.filter((name) => name.startsWith('model.')),
    'vLLM adds the prefix itself and stops at start',
  );
  const canonical = published.map(canonicalName);
  list(
    'under two names',
    canonical.filter((name, i) => canonical.indexOf(name) !== i),
    'whichever is read last counts',
  );
  return problems.length === 0
    ? ok(`${NAMES.length} weights, named as both engines read them`)
    : wrong(problems.join('; '));
}

function tensorShapes(subject: Subject): Finding {
  const { tensors } = subject.weights();
  const expected = {
    ...shapes(subject),
    ...(tensors.has(EMBEDDING) && { [EMBEDDING]: embeddingShape(subject) }),
  };
  const different = Object.entries(expected).flatMap(([name, shape]) => {
    const tensor = tensors.get(name);
    return tensor && show(tensor.shape) !== show(shape)
      ? [`${name}: expected ${show(shape)}, received ${show(tensor.shape)}`]
      : [];
  });
  if (different.length === 0) return ok('as config.json says');
  return wrong(
    `${different.join('; ')}; both engines build the model by config.json and stop at these weights`,
  );
}

function embeddingShape({ config }: Subject): number[] {
  const { vocabSize, hiddenSize } = readDraftConfig(config(), CONFIG_FILE);
  return [vocabSize, hiddenSize];
}

function dtypes({ weights }: Subject): Finding {
  const different: string[] = [];
  for (const [name, { dtype }] of weights().tensors) {
    const expected = MAPS[name];
    if (expected ? dtype !== expected : !FLOATS.has(dtype)) {
      different.push(`${name}: expected ${expected ?? [...FLOATS].join(' or ')}, received ${dtype}`);
    }
  }
  if (different.length === 0) return ok('floats for weights, int64 for d2t, bool for t2d');
  return wrong(
    `${different.join('; ')}; engines convert element types without a word, and what they make of these is noise`,
  );
}

/** Bits of a float's exponent, and of everything but its sign. */
const BITS: Readonly<Record<string, { exponent: number; magnitude: number; wide: boolean }>> = {
  BF16: { exponent: 0x7f80, magnitude: 0x7fff, wide: false },
  F16: { exponent: 0x7c00, magnitude: 0x7fff, wide: false },
  F32: { exponent: 0x7f800000, magnitude: 0x7fffffff, wide: true },
};

interface Values {
  finite: boolean;
  allZero: boolean;
}

function inspect(weights: DraftWeights, { name, dtype }: DraftTensor): Values {
  const { exponent, magnitude, wide } = BITS[dtype]!;
  const bytes = alignedBytes(weights.checkpoint.readBytes(name));
  const elements = wide ? new Uint32Array(bytes) : new Uint16Array(bytes);
  let finite = true;
  let allZero = true;
  for (const bits of elements) {
    if ((bits & exponent) === exponent) finite = false;
    if ((bits & magnitude) !== 0) allZero = false;
  }
  return { finite, allZero };
}

const inspected = new WeakMap<DraftWeights, Map<string, Values>>();

/** Every float tensor, read once for all checks. */
function values(weights: DraftWeights): Map<string, Values> {
  const before = inspected.get(weights);
  if (before) return before;
  const floats = [...weights.tensors].filter(([, { dtype }]) => dtype in BITS);
  const found = new Map(floats.map(([name, tensor]) => [name, inspect(weights, tensor)]));
  inspected.set(weights, found);
  return found;
}

function withValues(test: (values: Values) => boolean, good: string, consequence: string) {
  return ({ weights }: Subject): Finding => {
    const bad = [...values(weights())].filter(([, found]) => test(found)).map(([name]) => name);
    return bad.length === 0 ? ok(good) : wrong(`${bad.join(', ')}: ${consequence}`);
  };
}

function embedding({ weights, target }: Subject): Finding {
  const { tensors, checkpoint } = weights();
  const shipped = tensors.get(EMBEDDING);
  if (!shipped) return ok("not shipped: both engines use the target's");
  const targetCheckpoint = openCheckpoint(target().dir);
  const published = embeddingName(targetCheckpoint, target());
  const same = scope(() => {
    const own = checkpoint.load(shipped.name);
    return equalBytes(own, targetCheckpoint.load(published, own.dtype));
  });
  if (same) return ok("the target's");
  return wrong(
    "differs from the target's; SGLang replaces it by the target's and vLLM keeps it, so the draft reads other " +
      'embeddings in one engine than in the other, and than in training',
  );
}

function equalBytes(a: Tensor, b: Tensor): boolean {
  const [left, right] = [a, b].map((tensor) => Buffer.from(tensor.toTypedArray().buffer));
  return left!.equals(right!);
}

export const tensorChecks: Check[] = [
  { name: 'tensor names', run: names },
  { name: 'tensor shapes', run: tensorShapes },
  { name: 'tensor dtypes', run: dtypes },
  {
    name: 'finite weights',
    run: withValues(
      ({ finite }) => !finite,
      'no NaN or infinity',
      'NaN or infinity; every logit of the draft is NaN and no token is accepted, with no error',
    ),
  },
  {
    name: 'trained weights',
    run: withValues(
      ({ allZero }) => allZero,
      'no weight is all zeros',
      'all zeros; the draft loads, ignores its inputs and has an accept length of 1',
    ),
  },
  { name: EMBEDDING, run: embedding },
];
