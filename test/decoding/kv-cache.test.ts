import { describe, expect, it, onTestFinished } from 'vitest';
import { DecoderCache } from '../../lib/decoding/kv-cache.js';
import type { KVCache, Sample, Target } from '../../lib/models/target.js';
import { native } from '../../lib/native.js';
import { scope, tensor, toFloats } from '../../lib/tensor.js';
import { Draws } from '../helpers/random.js';
import { relativeError } from '../helpers/reference.js';
import { expectedCase, loadTarget } from '../models/qwen2_5_vl/checkpoints.js';

const shape = { numLayers: 2, numKeyValueHeads: 2, headDim: 4 };

describe('DecoderCache', () => {
  it('keeps what it holds when it grows', () => {
    const before = native.memory().liveTensors;
    const cache = new DecoderCache(shape);
    const draws = new Draws(1);
    const written: Float32Array[] = [];
    scope(() => {
      for (const rows of [5, 60, 70]) {
        cache.reserve(cache.length + rows);
        const k = draws.normals(rows * 8);
        written.push(k);
        for (const layer of [0, 1]) {
          const scaled = k.map((value) => value * (layer + 2));
          cache.write(layer, tensor(k, [rows, 2, 4]), tensor(scaled, [rows, 2, 4]));
        }
        cache.extend(rows);
      }
    });
    expect(cache.length).toBe(135);
    expect(cache.capacity).toBe(256);
    const all = Float32Array.from(written.flatMap((part) => [...part]));
    for (const layer of [0, 1]) {
      expect(toFloats(cache.keys[layer]!).subarray(0, all.length)).toEqual(all);
      expect(toFloats(cache.values[layer]!).subarray(0, all.length)).toEqual(
        all.map((value) => value * (layer + 2)),
      );
    }
    cache.dispose();
    expect(native.memory().liveTensors).toBe(before);
  });

  it('truncates to what it holds', () => {
    const cache = new DecoderCache(shape);
    cache.reserve(4);
    cache.extend(4);
    cache.truncate(1);
    expect(cache.length).toBe(1);
    for (const length of [2, -1, 0.5]) {
      expect(() => {
        cache.truncate(length);
      }).toThrow(`expected a length from 0 to 1, received ${length}`);
    }
    cache.dispose();
  });
});

describe('decoding', () => {
  const checkpoint = 'untied';
  const next = Int32Array.of(7, 130, 3, 99, 42, 7);

  function start(
    name: string,
    dtype: 'float32' | 'bfloat16' = 'float32',
  ): { target: Target; cache: KVCache; sample: Sample } {
    const target = loadTarget(checkpoint, { dtype });
    const { sample } = expectedCase(checkpoint, name);
    const cache = target.newCache();
    onTestFinished(() => {
      cache.dispose();
      target.dispose();
    });
    scope(() => target.prefill([sample], { auxLayerIds: [], caches: [cache] }));
    return { target, cache, sample };
  }

  function decode(target: Target, cache: KVCache, ids: Int32Array, delta: number) {
    return scope(() => {
      const positions = Float32Array.from(ids, (_, i) => cache.length + i + delta);
      const { auxHiddenStates, lastHiddenStates } = target.decode(cache, ids, positions, [2, 4]);
      return { aux: [...toFloats(auxHiddenStates)], last: [...toFloats(lastHiddenStates)] };
    });
  }

  it.each(['float32', 'bfloat16'] as const)('gives one by one and six at once the same bits: %s', (dtype) => {
    const { target, cache, sample } = start('clip', dtype);
    const { length } = cache;
    const singles = Array.from(next, (id) => decode(target, cache, Int32Array.of(id), sample.positionDelta));
    expect(cache.length).toBe(length + 6);
    for (const rows of [2, 3, 6]) {
      cache.truncate(length);
      const together = decode(target, cache, next.subarray(0, rows), sample.positionDelta);
      expect(together.last).toEqual(singles.slice(0, rows).flatMap(({ last }) => last));
      expect(together.aux).toEqual(singles.slice(0, rows).flatMap(({ aux }) => aux));
    }
  });

  it('goes on after a rejected token as if it had not been', () => {
    const { target, cache, sample } = start('images');
    const kept = decode(target, cache, next.subarray(0, 2), sample.positionDelta);
    const { length } = cache;
    const straight = decode(target, cache, next.subarray(2, 4), sample.positionDelta);
    cache.truncate(length);
    decode(target, cache, Int32Array.of(11, 12, 13), sample.positionDelta);
    cache.truncate(length);
    expect(decode(target, cache, next.subarray(2, 4), sample.positionDelta)).toEqual(straight);
    expect(kept).not.toEqual(straight);
  });

  it.each(['text', 'mixed'])('equals the prefill of the whole text: %s', (name) => {
    const { target, cache, sample } = start(name);
    const decoded = decode(target, cache, next, sample.positionDelta);
    const length = sample.inputIds.length;
    const total = length + next.length;
    const positionIds = new Float32Array(3 * total);
    for (let axis = 0; axis < 3; axis++) {
      positionIds.set(sample.positionIds.subarray(axis * length, (axis + 1) * length), axis * total);
      for (let i = length; i < total; i++) positionIds[axis * total + i] = i + sample.positionDelta;
    }
    const whole = { ...sample, inputIds: Int32Array.of(...sample.inputIds, ...next), positionIds };
    const { aux, last } = scope(() => {
      const result = target.prefill([whole], { auxLayerIds: [2, 4] });
      return { aux: toFloats(result.auxHiddenStates), last: toFloats(result.lastHiddenStates) };
    });
    expect(relativeError(decoded.last, last.subarray(length * target.info.hiddenSize))).toBeLessThan(1e-5);
    expect(relativeError(decoded.aux, aux.subarray(length * 2 * target.info.hiddenSize))).toBeLessThan(1e-5);
  });

  it('takes more tokens than it keeps buffers for', () => {
    const { target, cache, sample } = start('text');
    const { length } = cache;
    const ids = Int32Array.from({ length: 40 }, (_, i) => 2 + i);
    const singles = Array.from(
      ids,
      (id) => decode(target, cache, Int32Array.of(id), sample.positionDelta).last,
    );
    cache.truncate(length);
    expect(relativeError(decode(target, cache, ids, sample.positionDelta).last, singles.flat())).toBeLessThan(
      1e-5,
    );
  });

  it('fills one cache for each packed sample', () => {
    const { target, cache, sample } = start('clip');
    const other = expectedCase(checkpoint, 'text').sample;
    const caches = [target.newCache(), target.newCache()];
    scope(() => target.prefill([other, sample], { auxLayerIds: [], caches }));
    expect(caches.map(({ length }) => length)).toEqual([other.inputIds.length, sample.inputIds.length]);
    const packed = decode(target, caches[1]!, next, sample.positionDelta);
    expect(relativeError(packed.last, decode(target, cache, next, sample.positionDelta).last)).toBeLessThan(
      1e-5,
    );
    for (const each of caches) each.dispose();
  });

  it('refuses caches and positions that do not fit', () => {
    const { target, cache, sample } = start('text');
    expect(() => target.decode(cache, next, Float32Array.of(1), [])).toThrow('received 1 and 6');
    expect(() => target.prefill([sample], { auxLayerIds: [], caches: [cache] })).toThrow(
      'expected an empty cache',
    );
    expect(() => target.prefill([sample], { auxLayerIds: [], caches: [] })).toThrow(
      'expected 1 caches, received 0',
    );
    const foreign = new DecoderCache(shape);
    expect(() => target.decode(foreign, next, new Float32Array(6), [])).toThrow(
      'made by newCache() of this target',
    );
  });
});
