import { describe, expect, it, onTestFinished } from 'vitest';
import type { PrefillOptions, Sample, Target } from '../../../lib/models/target.js';
import { native } from '../../../lib/native.js';
import { narrow, scope, toFloats, type Tensor } from '../../../lib/tensor.js';
import { relativeError } from '../../helpers/reference.js';
import { cases, expectedCase, fixtureDirectory } from './fixtures.js';

const tolerance = 1e-4;

/** Runs a prefill and copies everything it returns. */
export function prefill(target: Target, samples: readonly Sample[], options: Partial<PrefillOptions> = {}) {
  return scope(() => {
    const result = target.prefill(samples, { auxLayerIds: [1], ...options });
    const floats = (tensor: Tensor | undefined): Float32Array => (tensor ? toFloats(tensor) : new Float32Array());
    return {
      aux: floats(result.auxHiddenStates),
      last: floats(result.lastHiddenStates),
      embeddings: floats(result.inputEmbeddings),
      all: floats(result.hiddenStates),
    };
  });
}

/** Tests of a target against what transformers computes with its fixtures, packed and decoded as well. */
export function describeParity(
  family: string,
  checkpoints: readonly string[],
  load: (directory: string) => Target,
): void {
  function open(checkpoint: string): Target {
    const target = load(fixtureDirectory(family, checkpoint));
    onTestFinished(() => {
      target.dispose();
    });
    return target;
  }

  describe.each(checkpoints)('%s', (checkpoint) => {
    const expected = (name: string) => expectedCase(family, checkpoint, name);

    it.each(cases)('hidden states equal those of transformers: %s', (name) => {
      const target = open(checkpoint);
      const { sample, hiddenStates, lastHiddenStates } = expected(name);
      const actual = prefill(target, [sample], { allLayers: true, deepstack: 'after' });
      const boundary = sample.inputIds.length * target.info.hiddenSize;
      for (let k = 0; k <= target.info.numLayers; k++) {
        const part = (all: Float32Array) => all.subarray(k * boundary, (k + 1) * boundary);
        expect(relativeError(part(actual.all), part(hiddenStates)), `boundary ${k}`).toBeLessThan(tolerance);
      }
      expect(relativeError(actual.last, lastHiddenStates)).toBeLessThan(tolerance);
    });

    it('logits equal those of transformers', () => {
      const target = open(checkpoint);
      const { sample, logits } = expected('mixed');
      scope(() => {
        const { lastHiddenStates } = target.prefill([sample], { auxLayerIds: [] });
        const rows = narrow(lastHiddenStates, 0, sample.inputIds.length - 3, 3);
        expect(relativeError(toFloats(target.logits(rows)), logits)).toBeLessThan(tolerance);
      });
    });

    it('packed samples give what each gives alone', () => {
      const target = open(checkpoint);
      const samples = ['images', 'text', 'mixed', 'clip', 'text'].map((name) => expected(name).sample);
      const packed = prefill(target, samples, { allLayers: true });
      const rows = samples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
      const { hiddenSize, numLayers } = target.info;
      let start = 0;
      for (const sample of samples) {
        const alone = prefill(target, [sample], { allLayers: true });
        const length = sample.inputIds.length;
        for (let k = 0; k <= numLayers; k++) {
          const inPack = packed.all.subarray((k * rows + start) * hiddenSize, (k * rows + start + length) * hiddenSize);
          const own = alone.all.subarray(k * length * hiddenSize, (k + 1) * length * hiddenSize);
          expect(relativeError(inPack, own)).toBeLessThan(1e-5);
        }
        start += length;
      }
    });

    it.each(cases)('decoding after a prompt equals a prefill of both: %s', (name) => {
      const target = open(checkpoint);
      const { sample, greedy } = expected(name);
      const { positionDelta, inputIds } = sample;
      const length = inputIds.length;
      const position = (i: number): number => length + i + positionDelta;
      const cache = target.newCache();
      const ids = Int32Array.from(greedy.slice(0, 3));
      const decoded = scope(() => {
        target.prefill([sample], { auxLayerIds: [], caches: [cache] });
        const result = target.decode(cache, ids, Float32Array.from(ids, (_, i) => position(i)), [1, 2]);
        return { aux: toFloats(result.auxHiddenStates), last: toFloats(result.lastHiddenStates) };
      });
      cache.dispose();
      const all = Array.from({ length: 3 }, (_, axis) => [
        ...sample.positionIds.subarray(axis * length, (axis + 1) * length),
        ...Array.from(ids, (_, i) => position(i)),
      ]).flat();
      const whole = prefill(
        target,
        [{ ...sample, inputIds: Int32Array.of(...inputIds, ...ids), positionIds: Float32Array.from(all) }],
        { auxLayerIds: [1, 2] },
      );
      const { hiddenSize } = target.info;
      expect(relativeError(decoded.last, whole.last.subarray(length * hiddenSize))).toBeLessThan(1e-5);
      expect(relativeError(decoded.aux, whole.aux.subarray(length * 2 * hiddenSize))).toBeLessThan(1e-5);
    });

    it.each(cases)('greedy decoding continues as transformers does: %s', (name) => {
      const target = open(checkpoint);
      const { sample, greedy } = expected(name);
      const { inputIds, positionDelta } = sample;
      const cache = target.newCache();
      const tokens: number[] = [];
      scope(() => {
        const next = (states: Tensor): void => {
          const logits = toFloats(target.logits(narrow(states, 0, states.shape[0]! - 1, 1)));
          tokens.push(logits.indexOf(Math.max(...logits)));
        };
        next(target.prefill([sample], { auxLayerIds: [], caches: [cache] }).lastHiddenStates);
        while (tokens.length < greedy.length) {
          const position = inputIds.length + tokens.length - 1 + positionDelta;
          next(target.decode(cache, Int32Array.of(tokens.at(-1)!), Float32Array.of(position), []).lastHiddenStates);
        }
      });
      cache.dispose();
      expect(tokens).toEqual(greedy);
    });
  });

  it('leaves no tensor behind', () => {
    const before = native.memory().liveTensors;
    for (const checkpoint of checkpoints) {
      const target = load(fixtureDirectory(family, checkpoint));
      const { sample } = expectedCase(family, checkpoint, 'mixed');
      scope(() => {
        target.prefill([sample], { auxLayerIds: [1, 2], allLayers: true, inputEmbeddings: true });
      });
      target.dispose();
    }
    expect(native.memory().liveTensors).toBe(before);
  });
}
