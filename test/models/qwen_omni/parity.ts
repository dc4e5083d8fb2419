import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadProcessor, loadTarget } from '../../../lib/models/registry.js';
import type { ConversationRecord, Processor, Sample, Target } from '../../../lib/models/target.js';
import { native } from '../../../lib/native.js';
import { narrow, scope, toFloats } from '../../../lib/tensor.js';
import { relativeError } from '../../helpers/reference.js';
import { copyModel, layouts, readExpected, readOmniRecords, recordIds, step, type OmniFamily } from './fixtures.js';

const tolerance = 1e-4;

/** Every step-th row of [boundaries, T, H]. */
function everyStep(states: Float32Array, boundaries: number, rows: number, width: number): Float32Array {
  const kept = Math.ceil(rows / step);
  const out = new Float32Array(boundaries * kept * width);
  for (let k = 0; k < boundaries; k++) {
    for (let i = 0; i < kept; i++) {
      const from = (k * rows + i * step) * width;
      out.set(states.subarray(from, from + width), (k * kept + i) * width);
    }
  }
  return out;
}

function prefill(target: Target, samples: readonly Sample[]) {
  return scope(() => {
    const result = target.prefill(samples, { auxLayerIds: [1], allLayers: true, deepstack: 'after' });
    return {
      all: toFloats(result.hiddenStates!),
      last: toFloats(result.lastHiddenStates),
      logits: toFloats(target.logits(narrow(result.lastHiddenStates, 0, result.lastHiddenStates.shape[0]! - 2, 2))),
    };
  });
}

/** Tests of a thinker against what transformers makes of the same media, alone and in a whole model. */
export function describeThinker(family: OmniFamily): void {
  describe.each(layouts)('%s', (layout) => {
    let model: ReturnType<typeof copyModel>;
    let records: Map<string, ConversationRecord>;
    let processor: Processor;
    let target: Target;
    let liveBefore: number;

    beforeAll(async () => {
      liveBefore = native.memory().liveTensors;
      model = copyModel(family, layout);
      records = await readOmniRecords(family);
      processor = loadProcessor(model.path);
      target = loadTarget(model.path);
    });

    afterAll(() => {
      target.dispose();
      model.remove();
      expect(native.memory().liveTensors).toBe(liveBefore);
    });

    const sample = (id: string): Promise<Sample> => processor.process(records.get(id)!);

    it.each(recordIds)('ids, positions and states equal those of transformers: %s', async (id) => {
      const expected = readExpected(family, layout, id);
      const actual = await sample(id);
      expect([...actual.inputIds]).toEqual(expected.inputIds);
      expect([...actual.positionIds]).toEqual([...expected.positionIds]);
      const rows = actual.inputIds.length;
      const { all, last, logits } = prefill(target, [actual]);
      const { hiddenSize, numLayers } = target.info;
      const states = everyStep(all, numLayers + 1, rows, hiddenSize);
      expect(relativeError(states, expected.hiddenStates)).toBeLessThan(tolerance);
      expect(relativeError(everyStep(last, 1, rows, hiddenSize), expected.lastHiddenStates)).toBeLessThan(tolerance);
      expect(relativeError(logits, expected.logits)).toBeLessThan(tolerance);
    });

    it('packed samples give what each gives alone', async () => {
      // Alone, `short` is one chunk without padding; beside longer sounds of other samples it must stay so.
      const samples = await Promise.all(['short', 'sounds', 'text', 'heard', 'short'].map(sample));
      const packed = prefill(target, samples).last;
      let start = 0;
      for (const one of samples) {
        const { last } = prefill(target, [one]);
        expect(relativeError(packed.subarray(start, start + last.length), last), one.id).toBeLessThan(1e-5);
        start += last.length;
      }
    });

    it.each(['sounds', 'mixed'])('decoding after a prompt with sound equals a prefill of both: %s', async (id) => {
      const whole = await sample(id);
      const { all, last } = prefill(target, [whole]);
      const rows = whole.inputIds.length;
      const tail = 5;
      const head = rows - tail;
      const axis = (k: number): Float32Array => whole.positionIds.subarray(k * rows, k * rows + head);
      const prompt: Sample = {
        ...whole,
        inputIds: whole.inputIds.subarray(0, head),
        lossMask: whole.lossMask.subarray(0, head),
        positionIds: Float32Array.from([...axis(0), ...axis(1), ...axis(2)]),
      };
      const cache = target.newCache();
      try {
        scope(() => {
          target.prefill([prompt], { auxLayerIds: [1], caches: [cache] });
          const positions = Float32Array.from({ length: tail }, (_, i) => head + i + whole.positionDelta);
          expect([...positions]).toEqual([...whole.positionIds.subarray(head, rows)]);
          const decoded = target.decode(cache, whole.inputIds.subarray(head), positions, [1]);
          const { hiddenSize } = target.info;
          expect(relativeError(toFloats(decoded.lastHiddenStates), last.subarray(head * hiddenSize))).toBeLessThan(tolerance);
          const inner = all.subarray((rows + head) * hiddenSize, 2 * rows * hiddenSize);
          expect(relativeError(toFloats(decoded.auxHiddenStates), inner)).toBeLessThan(tolerance);
        });
      } finally {
        cache.dispose();
      }
    });

    it('what is heard changes what is said', async () => {
      const one = await sample('short');
      const silent = structuredClone(one);
      (silent.media[0]!['mel'] as Float32Array).fill(-0.5);
      expect(relativeError(prefill(target, [silent]).logits, prefill(target, [one]).logits)).toBeGreaterThan(0.01);
    });

    it('names a sound whose sizes disagree', async () => {
      const one = structuredClone(await sample('short'));
      one.media[0]!['frames'] = 5;
      expect(() => prefill(target, [one])).toThrow(/sample short, medium 0 \(audio\): expected \d+ values/);
    });

    it('multiplies in bfloat16 too', async () => {
      const rounded = loadTarget(model.path, { dtype: 'bfloat16' });
      try {
        const one = await sample('sounds');
        expect(relativeError(prefill(rounded, [one]).last, prefill(target, [one]).last)).toBeLessThan(0.2);
      } finally {
        rounded.dispose();
      }
    });
  });
}
