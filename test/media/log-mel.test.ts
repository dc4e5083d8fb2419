import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { native } from '../../lib/native.js';

type Kind = 'noise' | 'silence' | 'tone';
type Case = [kind: Kind, samples: number, paddedLength: number | null, mels: number, frames: number];

const fixtures = fileURLToPath(new URL('../fixtures/media/audio/', import.meta.url));
const cases = JSON.parse(readFileSync(`${fixtures}log-mel.json`, 'utf8')) as Case[];
const features = new Float32Array(new Uint8Array(readFileSync(`${fixtures}log-mel.f32`)).buffer);

/** The generator of scripts/fixtures/audio.py. */
function sound(kind: Kind, count: number): Float32Array {
  if (kind === 'silence') return new Float32Array(count);
  if (kind === 'tone') {
    return Float32Array.from({ length: count }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 440 * i) / 16000));
  }
  let state = 12345n;
  return Float32Array.from({ length: count }, () => {
    state = (state * 1103515245n + 12345n) % 2n ** 31n;
    return Number(state >> 16n) / 32768 - 0.5;
  });
}

const maxDifference = (a: Float32Array, b: Float32Array): number =>
  a.reduce((max, x, i) => Math.max(max, Math.abs(x - b[i]!)), 0);

describe('logMel', () => {
  let offset = 0;
  it.each(cases.map((entry) => [...entry, (offset += entry[3] * entry[4])] as const))(
    '%s of %i samples, padded to %s, %i bands, equals WhisperFeatureExtractor',
    (kind, count, paddedLength, mels, frames, end) => {
      const out = native.logMel(sound(kind, count), { mels, ...(paddedLength !== null && { paddedLength }) });
      expect(out.length).toBe(mels * frames);
      // Near the floor under a tone the extractor's own float32 transform is off by this much.
      const tolerance = kind === 'tone' ? 2e-4 : 1e-5;
      expect(maxDifference(out, features.subarray(end - mels * frames, end))).toBeLessThan(tolerance);
    },
  );

  it('hears nothing in padding, however long', () => {
    const samples = sound('noise', 1601);
    const short = native.logMel(samples, { mels: 128, paddedLength: 4000 });
    expect(native.logMel(samples, { mels: 128, paddedLength: 4_800_000 })).toEqual(short);
  });

  it('does not depend on the number of threads', () => {
    const samples = sound('noise', 60_001);
    const threads = native.info().threads;
    native.setThreads(1);
    const one = native.logMel(samples, { mels: 128 });
    native.setThreads(3);
    const three = native.logMel(samples, { mels: 128 });
    native.setThreads(threads);
    expect(three).toEqual(one);
  });

  it('refuses what it cannot transform', () => {
    expect(() => native.logMel(new Float32Array(0), { mels: 80, paddedLength: 400 })).toThrow(
      '[logMel] expected at least 1 sample, received 0',
    );
    expect(() => native.logMel(new Float32Array(200), { mels: 80 })).toThrow(
      '[logMel] expected a padded length of at least 201 samples, received 200',
    );
    expect(() => native.logMel(new Float32Array(500), { mels: 80, paddedLength: 499 })).toThrow(
      '[logMel] expected a padded length of at least 500 samples, received 499',
    );
    expect(() => native.logMel(new Float32Array(500), { mels: 0 })).toThrow(/expected mels of 1 or more/);
    expect(() => native.logMel(new Float32Array(500), { mels: 129 })).toThrow(/expected mels up to 128/);
    const samples = new Float32Array(500);
    samples[17] = NaN;
    expect(() => native.logMel(samples, { mels: 80 })).toThrow(
      /^\[logMel\] expected finite samples, received -?nan at 17$/,
    );
  });
});
