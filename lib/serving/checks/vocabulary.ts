import { ok, show, wrong, type Check, type Finding, type Subject } from './subject.js';

/** Rows of the draft's head: what the draft vocabulary has to be. */
function draftVocabSize({ config }: Subject): Finding {
  const { draft_vocab_size: size, vocab_size: vocabSize } = config();
  if (size === undefined)
    return wrong('expected the key, received nothing; SGLang reads it directly and stops at start');
  if (size === null) {
    return wrong(
      "received null; SGLang takes the target's lm_head for the draft's, which was trained with its own",
    );
  }
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 1 || size > Number(vocabSize)) {
    return wrong(
      `expected a whole number from 1 to vocab_size ${show(vocabSize)}, received ${show(size)}; ` +
        'both engines build a head that lm_head.weight does not fill',
    );
  }
  return ok(`${size} of ${Number(vocabSize)} ids`);
}

function vocabSize({ config, target }: Subject): Finding {
  const size = config()['vocab_size'];
  const expected = target().vocabSize;
  if (size === expected) return ok(`${expected}, the target's`);
  return wrong(
    `expected ${expected}, the target config's (a tokenizer may have fewer), received ${show(size)}; ` +
      'vLLM scatters draft logits into a row of the wrong width, SGLang builds an embedding of the wrong size',
  );
}

/** Target ids that the draft can predict, by draft id; undefined where it has the whole vocabulary. */
function targetIds({ weights }: Subject): number[] | undefined {
  const d2t = weights().d2t();
  return d2t && Array.from(d2t, (offset, id) => id + Number(offset));
}

function d2tPresence({ config, weights }: Subject): Finding {
  const { draft_vocab_size: size, vocab_size: whole } = config();
  const d2t = weights().tensors.get('d2t');
  if (!d2t) {
    if (size === whole) return ok('not needed: the draft has the whole vocabulary');
    return wrong(
      'missing; both engines take draft ids for target ids, so nearly every token is another and none is accepted',
    );
  }
  if (show(d2t.shape) === show([size])) return ok(`${d2t.shape[0]!} offsets`);
  return wrong(
    `expected shape [${show(size)}], received ${show(d2t.shape)}; vLLM stops at start, SGLang fails at the first id it lacks`,
  );
}

function d2tRange(subject: Subject): Finding {
  const ids = targetIds(subject);
  const whole = subject.target().vocabSize;
  if (!ids) return ok('no d2t');
  const outside = ids.findIndex((id) => id < 0 || id >= whole);
  if (outside >= 0) {
    return wrong(
      `draft id ${outside} maps to ${ids[outside]!}, expected 0 to ${whole - 1}: d2t holds offsets, target id = draft id + ` +
        'd2t; both engines index outside the vocabulary and stop with a CUDA assertion, or draft other tokens',
    );
  }
  const unordered = ids.findIndex((id, draft) => draft > 0 && id <= ids[draft - 1]!);
  if (unordered >= 0) {
    return wrong(
      `draft id ${unordered} maps to ${ids[unordered]!} after ${ids[unordered - 1]!}, expected ascending target ids; ` +
        'where d2t holds target ids instead of offsets, or two draft ids share one, both engines draft other tokens',
    );
  }
  return ok(`target ids ${ids[0]!} to ${ids.at(-1)!}, ascending`);
}

function t2d(subject: Subject): Finding {
  const { tensors, checkpoint } = subject.weights();
  const map = tensors.get('t2d');
  if (!map) return ok('not shipped; no engine reads it');
  const whole = subject.target().vocabSize;
  if (show(map.shape) !== show([whole])) {
    return wrong(
      `expected shape [${whole}], the target config's vocab_size, received ${show(map.shape)}; engines skip it, but ` +
        "training with it took another vocabulary than the target's",
    );
  }
  const marked: number[] = [];
  checkpoint.readBytes(map.name).forEach((bit, id) => {
    if (bit) marked.push(id);
  });
  if (show(marked) === show(targetIds(subject))) return ok('agrees with d2t');
  return wrong(
    'marks other ids than d2t; engines draft by d2t, so lm_head rows stand for other tokens than in training',
  );
}

function stopTokens(subject: Subject): Finding {
  const { stopTokenIds } = subject.target();
  if (stopTokenIds.length === 0)
    return wrong('the target names no token that ends a turn; nothing can be checked');
  const ids = targetIds(subject);
  const absent = ids ? stopTokenIds.filter((id) => !ids.includes(id)) : [];
  if (absent.length === 0) return ok(`${stopTokenIds.join(', ')} can be drafted`);
  return wrong(
    `${absent.join(', ')} cannot be drafted: the last round of every answer is rejected in both engines, and short answers lose most`,
  );
}

export const vocabularyChecks: Check[] = [
  { name: 'vocab_size', run: vocabSize },
  { name: 'draft_vocab_size', run: draftVocabSize },
  { name: 'd2t', run: d2tPresence },
  { name: 'd2t target ids', run: d2tRange },
  { name: 't2d', run: t2d },
  { name: 'stop tokens', run: stopTokens },
];
