import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Qwen2_5VLTarget } from '../../../lib/models/qwen2_5_vl/target.js';
import { loadTarget as loadFromRegistry } from '../../../lib/models/registry.js';
import type { Sample } from '../../../lib/models/target.js';
import { native } from '../../../lib/native.js';
import { scope, toFloats } from '../../../lib/tensor.js';
import { relativeError } from '../../helpers/reference.js';
import { temporaryDirectory } from '../../hub/temporary.js';
import { describeParity, prefill } from '../qwen_vl/parity.js';
import { checkpoints, directory, expectedCase, loadTarget } from './checkpoints.js';

function open(checkpoint: string): Qwen2_5VLTarget {
  const target = loadTarget(checkpoint);
  onTestFinished(() => {
    target.dispose();
  });
  return target;
}

describeParity('qwen2_5_vl', checkpoints, (path) => Qwen2_5VLTarget.load(path));

describe('prefill', () => {
  it('puts aux states side by side in ascending order, whatever the order asked for', () => {
    const target = open('untied');
    const { sample } = expectedCase('untied', 'clip');
    const { aux, all } = prefill(target, [sample], { auxLayerIds: [4, 0, 2], allLayers: true });
    const rows = sample.inputIds.length;
    const { hiddenSize: h } = target.info;
    for (let i = 0; i < rows; i++) {
      [0, 2, 4].forEach((boundary, slot) => {
        const at = (boundary * rows + i) * h;
        expect(aux.slice((3 * i + slot) * h, (3 * i + slot + 1) * h)).toEqual(all.slice(at, at + h));
      });
    }
  });

  it('returns the embeddings with the media merged in: the first boundary', () => {
    const target = open('tied');
    const { sample } = expectedCase('tied', 'images');
    const { embeddings, all } = prefill(target, [sample], { inputEmbeddings: true, allLayers: true });
    expect(embeddings).toEqual(all.slice(0, embeddings.length));
  });

  it('with bfloat16 weights stays near float32', () => {
    const target = Qwen2_5VLTarget.load(directory('untied'), { dtype: 'bfloat16' });
    onTestFinished(() => {
      target.dispose();
    });
    expect(target.embedTokens.dtype).toBe('bfloat16');
    const { sample, lastHiddenStates } = expectedCase('untied', 'mixed');
    const error = relativeError(prefill(target, [sample]).last, lastHiddenStates);
    expect(error).toBeGreaterThan(1e-6);
    expect(error).toBeLessThan(5e-2);
  });

  it.each([[[5]], [[-1]], [[1.5]], [[2, 2]]])('refuses the aux layers %j', (auxLayerIds) => {
    const target = open('untied');
    const { sample } = expectedCase('untied', 'text');
    expect(() => target.prefill([sample], { auxLayerIds })).toThrow(
      `auxLayerIds: expected different integers from 0 to 4, received [${auxLayerIds.join(', ')}]`,
    );
  });

  it('refuses samples whose parts do not fit', () => {
    const target = open('untied');
    const { sample } = expectedCase('untied', 'images');
    const run = (change: Partial<Sample>) => () => target.prefill([{ ...sample, ...change }], { auxLayerIds: [] });
    const [first, second] = sample.media;
    expect(() => target.prefill([], { auxLayerIds: [] })).toThrow('at least one sample');
    expect(run({ media: [first!] })).toThrow('sample images: expected as many placeholders as its 1 media fill');
    expect(run({ media: [first!, second!, first!] })).toThrow('medium 2 (image): expected 15 placeholders, received 0');
    expect(run({ media: [{ ...first!, kind: 'video' }, second!] })).toThrow('medium 0 (video): expected 15 placeholders');
    expect(run({ media: [{ ...first!, tokens: 14 }, second!] })).toThrow('15 tokens');
    expect(run({ media: [{ ...first!, grid: [1, 5, 12] }, second!] })).toThrow('multiples of 2, received 1 × 5 × 12');
    expect(run({ positionIds: sample.positionIds.slice(1) })).toThrow('positions');
    expect(run({ inputIds: sample.inputIds.map((id, i) => (i === 0 ? 200 : id)) })).toThrow('ids from 0 to 199, received 200');
  });
});

describe('loading', () => {
  const copies = temporaryDirectory();
  let count = 0;

  /** The checkpoint's weights beside a changed config.json. */
  function changed(checkpoint: string, change: (config: Record<string, Record<string, unknown>>) => void): string {
    const config = JSON.parse(readFileSync(join(directory(checkpoint), 'config.json'), 'utf8')) as never;
    change(config);
    const copy = join(copies, String(count++));
    mkdirSync(copy);
    writeFileSync(join(copy, 'config.json'), JSON.stringify(config));
    symlinkSync(join(directory(checkpoint), 'model.safetensors'), join(copy, 'model.safetensors'));
    return copy;
  }

  it('finds the class by the architecture of config.json', () => {
    const target = loadFromRegistry(directory('published'));
    onTestFinished(() => {
      target.dispose();
    });
    expect(target).toBeInstanceOf(Qwen2_5VLTarget);
    const other = changed('tied', (config) => {
      config['architectures'] = ['OtherModel'] as never;
    });
    expect(() => loadFromRegistry(other)).toThrow(
      /architectures: expected one of .*Qwen2_5_VLForConditionalGeneration.*; received "OtherModel"/,
    );
  });

  it('ties the head to the embedding where the config says so', () => {
    const tied = open('tied');
    const untied = open('untied');
    expect(tied.lmHead).toBe(tied.embedTokens);
    expect(scope(() => toFloats(untied.lmHead))).not.toEqual(scope(() => toFloats(untied.embedTokens)));
  });

  it('lists weights that are missing, unexpected or of another shape', () => {
    const dir = changed('untied', (config) => {
      config['text_config']!['num_hidden_layers'] = 5;
      config['text_config']!['intermediate_size'] = 90;
      config['vision_config']!['depth'] = 2;
    });
    const before = native.memory().liveTensors;
    const load = () => Qwen2_5VLTarget.load(dir);
    expect(load).toThrow('model.layers.4.self_attn.q_proj.bias [64]');
    expect(load).toThrow('model.visual.blocks.2.norm1.weight [32]');
    expect(load).toThrow('model.language_model.layers.0.mlp.down_proj.weight: expected [64, 90], received [64, 96]');
    expect(native.memory().liveTensors).toBe(before);
  });

  it('misses the head where the config does not tie it', () => {
    const dir = changed('tied', (config) => {
      config['tie_word_embeddings'] = false as never;
      config['text_config']!['tie_word_embeddings'] = false;
    });
    expect(() => Qwen2_5VLTarget.load(dir)).toThrow('lm_head.weight [200, 64]');
  });
});

it('leaves no tensor behind', () => {
  const before = native.memory().liveTensors;
  const target = loadTarget('untied');
  const samples = ['mixed', 'text'].map((name) => expectedCase('untied', name).sample);
  const pass = () => {
    const caches = samples.map(() => target.newCache());
    scope(() => {
      target.prefill(samples, { auxLayerIds: [1, 2], allLayers: true, inputEmbeddings: true, caches });
      target.decode(caches[0]!, Int32Array.of(3, 4), Float32Array.of(40, 41), [1]);
      expect(() => target.prefill(samples, { auxLayerIds: [9] })).toThrow('auxLayerIds');
    });
    for (const cache of caches) cache.dispose();
  };
  // Buffers of few rows are kept for the next pass.
  pass();
  const kept = native.memory().liveTensors;
  pass();
  expect(native.memory().liveTensors).toBe(kept);
  target.dispose();
  expect(native.memory().liveTensors).toBe(before);
});
