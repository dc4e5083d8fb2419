import { canonicalJson } from '../target-identity.js';
import { readRope, type RopeFacts } from '../rope-json.js';
import { ok, show, wrong, type Check, type Finding, type Subject } from './subject.js';

const draftRope = ({ config }: Subject): RopeFacts => readRope(config());

function maxPositions({ config, target }: Subject): Finding {
  const length = config()['max_position_embeddings'];
  const expected = target().maxPositionEmbeddings;
  if (typeof length === 'number' && length >= expected) return ok(show(length));
  return wrong(
    `expected at least ${expected}, the target's, received ${show(length)}; SGLang stops with a ValueError at the ` +
      "target's context length, or rotates longer prompts by a table that is too short (accept length near 1)",
  );
}

function theta(subject: Subject): Finding {
  const expected = subject.target().rope.theta;
  const { theta: received } = draftRope(subject);
  const { rope_theta: old, rope_scaling: scaling, rope_parameters: parameters } = subject.config();
  const stated =
    old !== undefined || [scaling, parameters].some((rope) => show(rope).includes('"rope_theta"'));
  if (received === expected) return ok(show(expected));
  return wrong(
    `expected ${expected}, the target's, received ${stated ? received : `nothing, which engines take for ${received}`}; ` +
      'both engines rotate the draft with this base, and accept length falls with the distance between tokens',
  );
}

function scaling(subject: Subject): Finding {
  const [draft, target] = [draftRope(subject), subject.target().rope];
  if (draft.type !== target.type) {
    return wrong(
      `expected kind ${target.type}, the target's, received ${draft.type}; both engines rotate the draft by other angles ` +
        'than those it was trained with',
    );
  }
  const differing =
    draft.type !== 'default' && canonicalJson(draft.scaling) !== canonicalJson(target.scaling);
  if (differing) {
    return wrong(
      `expected ${canonicalJson(target.scaling)}, received ${canonicalJson(draft.scaling)}; both engines rotate the ` +
        'draft by other angles than those it was trained with',
    );
  }
  if (draft.type !== 'default' && draft.mropeSection && subject.serves('sglang')) {
    return wrong(`${draft.type} beside mrope_section: SGLang takes such a draft as unscaled`);
  }
  return ok(draft.type);
}

function section(subject: Subject): Finding {
  const { mropeSection: sizes, partialRotaryFactor: partial } = draftRope(subject);
  if (!sizes) return ok('none: one axis');
  const expected = subject.target().rope.mropeSection;
  if (show(sizes) !== show(expected)) {
    return wrong(
      `expected ${show(expected)}, the target's, received ${show(sizes)}; both engines give frequencies of the draft to ` +
        'other axes than in training, so text is right and everything after an image is not',
    );
  }
  const headDim = Number(subject.config()['head_dim'] ?? subject.target().headDim);
  const pairs = Math.trunc(headDim * partial) / 2;
  const sum = sizes.reduce((total, size) => total + size, 0);
  if (sum === pairs) return ok(show(sizes));
  return wrong(
    `expected a sum of ${pairs} (half the rotated head), received ${sum}; both engines stop at the first image`,
  );
}

function interleaved(subject: Subject): Finding {
  const rope = draftRope(subject);
  const expected = subject.target().rope.mropeInterleaved;
  if (!rope.mropeSection) return ok('one axis: not used');
  if (rope.mropeInterleaved === expected) return ok(show(expected));
  return wrong(
    `expected ${expected}, the target's, received ${rope.mropeInterleaved}; both engines spread the axes over other ` +
      'frequencies than in training, so accept length falls after an image',
  );
}

function partial({ config, target }: Subject): Finding {
  const expected = target().rope.partialRotaryFactor;
  const { rope_scaling: scalingKeys, rope_parameters: parameters, partial_rotary_factor: top } = config();
  const nested = readRope({ rope_scaling: scalingKeys, rope_parameters: parameters }).partialRotaryFactor;
  if ((top ?? 1) === expected && nested === expected) return ok(show(expected));
  return wrong(
    `expected ${expected}, the target's, at the top level, which SGLang reads, and beside rope_type, which vLLM reads, ` +
      `received ${show(top)} and ${nested}; the engine rotates another share of the head`,
  );
}

/** The kind of positions that a server gives a draft follows from its config. */
function positions(subject: Subject): Finding {
  const { positions: trained } = subject.manifest().contract;
  const configured = draftRope(subject).mropeSection ? 'mrope' : 'index';
  if (trained !== configured) {
    return wrong(
      `trained on ${trained} positions, but rope_scaling ${configured === 'mrope' ? 'has an' : 'has no'} mrope_section: ` +
        `SGLang gives the draft ${configured} positions, so accept length falls after an image`,
    );
  }
  if (trained === 'mrope' && subject.serves('vllm')) {
    return ok('mrope; vLLM gives them in its V1 runner alone: serve with VLLM_USE_V2_MODEL_RUNNER=0');
  }
  if (trained === 'index' && subject.serves('vllm') && subject.target().rope.mropeSection) {
    return ok('index; vLLM gives them in its V2 runner (its V1 runner: the temporal axis)');
  }
  return ok(trained);
}

export const positionChecks: Check[] = [
  { name: 'max_position_embeddings', run: maxPositions },
  { name: 'rope_theta', run: theta },
  { name: 'rope_scaling', run: scaling },
  { name: 'mrope_section', run: section },
  { name: 'mrope_interleaved', run: interleaved },
  { name: 'partial_rotary_factor', run: partial },
  { name: 'positions', run: positions },
];
