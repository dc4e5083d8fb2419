import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../lib/native.js';
import { readTargetInfo } from '../../lib/models/registry.js';
import { readTargetFacts } from '../../lib/serving/target-facts.js';
import { configFingerprint } from '../../lib/serving/target-identity.js';
import { editJson, settings, writeJson, writeTarget, type Json } from './fixture.js';

let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'eyas-target-'));
});

afterAll(() => {
  rmSync(root, { recursive: true });
});

describe('readTargetFacts', () => {
  it.each([
    'models/tiny-qwen2.5-vl',
    'test/fixtures/qwen2_5_vl/published',
    'test/fixtures/qwen2_5_vl/untied',
  ])('agrees with what the family reads: %s', (path) => {
    const dir = join(packageRoot, path);
    const [facts, info] = [readTargetFacts(dir), readTargetInfo(dir)];
    const { architecture, modelType, hiddenSize, numLayers, numHeads, headDim, vocabSize } = info;
    expect(facts).toMatchObject({
      architecture,
      modelType,
      hiddenSize,
      numLayers,
      numHeads,
      headDim,
      vocabSize,
    });
    expect(facts.maxPositionEmbeddings).toBe(info.maxPositionEmbeddings);
    expect(facts.rope).toMatchObject({
      theta: info.rotary.theta,
      type: 'default',
      mropeSection: info.rotary.mropeSection,
      mropeInterleaved: info.rotary.mropeInterleaved,
    });
    expect(facts.stopTokenIds).toEqual([...info.eosTokenIds].sort((a, b) => a - b));
    expect(facts.multimodal).toBe(true);
  });

  it('finds the decoder inside a thinker, and its deepstack', () => {
    const dir = join(root, 'omni');
    const { text_config, vision_config } = settings.deepstack.config;
    writeTarget(dir, {
      architectures: ['Qwen3OmniMoeForConditionalGeneration'],
      thinker_config: { text_config, vision_config, audio_config: {} },
    });
    expect(readTargetFacts(dir)).toMatchObject({ numLayers: 8, deepstackLayers: 3, multimodal: true });
  });

  it.each<[string, Json, RegExp]>([
    [
      'num_hidden_layers',
      { num_hidden_layers: 'many' },
      /num_hidden_layers: expected a whole number above 0, received "many"/,
    ],
    ['architectures', { architectures: [] }, /architectures: expected the name of a class, received nothing/],
  ])('names the key that is missing: %s', (key, values, message) => {
    const dir = join(root, key);
    writeTarget(dir, { ...settings.sglang.config, ...values });
    expect(() => readTargetFacts(dir)).toThrow(message);
  });
});

describe('configFingerprint', () => {
  const fingerprint = (dir: string) => configFingerprint(readTargetFacts(dir));

  it('does not depend on the directory, the order of keys or the stop tokens', () => {
    const [a, b] = [join(root, 'a'), join(root, 'b')];
    writeTarget(a, settings.sglang.config);
    writeTarget(b, Object.fromEntries(Object.entries(settings.sglang.config).reverse()));
    writeJson(b, 'generation_config.json', { eos_token_id: 7 });
    expect(fingerprint(a)).toBe(fingerprint(b));
  });

  it('depends on the rotary embedding', () => {
    const dir = join(root, 'theta');
    writeTarget(dir, settings.sglang.config);
    const before = fingerprint(dir);
    editJson(dir, 'config.json', (json) => (json['rope_theta'] = 10_000));
    expect(fingerprint(dir)).not.toBe(before);
  });
});
