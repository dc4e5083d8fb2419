import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { PictureFeature } from '../../../lib/models/deepseek_vl/feature.js';
import { DeepseekVLProcessor } from '../../../lib/models/deepseek_vl/processor.js';
import { DeepseekVLTarget } from '../../../lib/models/deepseek_vl/target.js';
import { loadTarget } from '../../../lib/models/registry.js';
import type { Sample } from '../../../lib/models/target.js';
import { native } from '../../../lib/native.js';
import { narrow, scope, toFloats } from '../../../lib/tensor.js';
import { relativeError } from '../../helpers/reference.js';
import { temporary } from '../../helpers/tiny.js';
import { everyFifthRow } from '../internvl/fixtures.js';
import { cases, checkpoints, expectedValues, modelDir, record } from './fixtures.js';

const tolerance = 1e-4;

let scratch: string;
let remove: () => void;
const dirs = new Map<string, string>();

beforeAll(() => {
  ({ dir: scratch, remove } = temporary());
  for (const checkpoint of checkpoints) dirs.set(checkpoint, modelDir(scratch, checkpoint));
});
afterAll(() => {
  remove();
});

function open(checkpoint: string): DeepseekVLTarget {
  const target = DeepseekVLTarget.load(dirs.get(checkpoint)!);
  onTestFinished(() => {
    target.dispose();
  });
  return target;
}

const sampleOf = (checkpoint: string, name: string): Promise<Sample> =>
  new DeepseekVLProcessor(dirs.get(checkpoint)!).process(record(name));

describe.each(checkpoints)('%s equals transformers', (checkpoint) => {
  it.each(cases)('%s', async (name) => {
    const target = open(checkpoint);
    const sample = await sampleOf(checkpoint, name);
    const expected = expectedValues(checkpoint, name);
    expect([...sample.inputIds]).toEqual(expected.inputIds);
    expect(sample.axes).toBe(1);
    expect([...sample.positionIds]).toEqual(expected.inputIds.map((_, i) => i));
    const rows = sample.inputIds.length;
    const actual = scope(() => {
      const { hiddenStates, lastHiddenStates } = target.prefill([sample], { auxLayerIds: [], allLayers: true });
      const logits = toFloats(target.logits(narrow(lastHiddenStates, 0, rows - 1, 1)));
      return { all: toFloats(hiddenStates!), last: toFloats(lastHiddenStates), logits };
    });
    const picked = (states: Float32Array) => everyFifthRow(states, rows, target.info.hiddenSize);
    expect(relativeError(picked(actual.all), expected.hiddenStates)).toBeLessThan(tolerance);
    expect(relativeError(picked(actual.last), expected.lastHiddenStates)).toBeLessThan(tolerance);
    expect(relativeError(actual.logits, expected.logits)).toBeLessThan(tolerance);
  });

  it('and packed samples give what each gives alone', async () => {
    const target = open(checkpoint);
    const samples = await Promise.all(['pictures', 'text', 'pictures'].map((name) => sampleOf(checkpoint, name)));
    const run = (packed: Sample[]): Float32Array =>
      scope(() => toFloats(target.prefill(packed, { auxLayerIds: [] }).lastHiddenStates));
    const alone = samples.flatMap((sample) => [...run([sample])]);
    expect(relativeError(run(samples), alone)).toBeLessThan(1e-5);
  });

  it('and decoding after a prefill continues it', async () => {
    const target = open(checkpoint);
    const sample = await sampleOf(checkpoint, 'pictures');
    const length = sample.inputIds.length;
    const cut = length - 7;
    const head: Sample = { ...sample, inputIds: sample.inputIds.slice(0, cut), positionIds: sample.positionIds.slice(0, cut) };
    const cache = target.newCache();
    onTestFinished(() => {
      cache.dispose();
    });
    scope(() => {
      const whole = target.prefill([sample], { auxLayerIds: [1, 2] });
      target.prefill([head], { auxLayerIds: [], caches: [cache] });
      const rest = target.decode(cache, sample.inputIds.slice(cut), sample.positionIds.slice(cut), [1, 2]);
      for (const key of ['auxHiddenStates', 'lastHiddenStates'] as const) {
        const expected = toFloats(narrow(whole[key], 0, cut, length - cut));
        expect(relativeError(toFloats(rest[key]), expected), key).toBeLessThan(1e-5);
      }
    });
  });
});

describe('loading', () => {
  it.each([
    ['plain', 'DeepseekVLForConditionalGeneration'],
    ['hybrid', 'DeepseekVLHybridForConditionalGeneration'],
    ['original-hybrid', 'MultiModalityCausalLM'],
  ])('%s is found as %s', (checkpoint, architecture) => {
    const target = loadTarget(dirs.get(checkpoint)!);
    onTestFinished(() => {
      target.dispose();
    });
    expect(target).toBeInstanceOf(DeepseekVLTarget);
    expect(target.info.architecture).toBe(architecture);
  });

  it('ties the head where the checkpoint has none', () => {
    const tied = open('plain');
    expect(tied.lmHead).toBe(tied.embedTokens);
  });

  it('takes a head that is there, though the config says tied as by default', () => {
    const dir = modelDir(scratch, 'hybrid', 'declared-tied', {
      'config.json': (config) => {
        delete config['tie_word_embeddings'];
      },
    });
    const target = DeepseekVLTarget.load(dir);
    onTestFinished(() => {
      target.dispose();
    });
    expect(target.lmHead).not.toBe(target.embedTokens);
  });

  it('lists weights that are missing or of another shape, and leaves no tensor', () => {
    const before = native.memory().liveTensors;
    const load = (checkpoint: string, name: string, change: Parameters<typeof modelDir>[3]) => () =>
      DeepseekVLTarget.load(modelDir(scratch, checkpoint, name, change));
    expect(
      load('hybrid', 'more-layers', {
        'config.json': (config) => {
          config['high_res_vision_config']!['num_hidden_layers'] = 4;
          config['high_res_vision_config']!['window_size'] = 5;
          config['vision_config']!['intermediate_size'] = 25;
        },
      }),
    ).toThrow(
      /encoder\.layers\.3\.attn\.rel_pos_h \[9, 4\][^]*fc1\.weight: expected \[25, 16\], received \[24, 16\][^]*layers\.0\.attn\.rel_pos_h: expected \[9, 4\], received \[7, 4\]/,
    );
    const dir = modelDir(scratch, 'original', 'of-another');
    renameSync(join(modelDir(scratch, 'original-hybrid', 'donor'), 'model.safetensors'), join(dir, 'model.safetensors'));
    expect(() => DeepseekVLTarget.load(dir)).toThrow(/vision_model\.vision_tower\.patch_embed\.proj\.weight/);
    expect(native.memory().liveTensors).toBe(before);
  });
});

describe('prefill refuses', () => {
  it('a picture without its high resolution', async () => {
    const target = open('hybrid');
    const sample = await sampleOf('hybrid', 'pictures');
    const { highResPixels, ...rest } = sample.media[1] as PictureFeature;
    expect(highResPixels).toHaveLength(3 * 45 ** 2);
    const broken = { ...sample, media: [sample.media[0]!, rest, sample.media[2]!] };
    expect(() => target.prefill([broken], { auxLayerIds: [] })).toThrow(
      '[prefill] sample pictures, medium 1 (image): expected 2352 values, 6075 in high resolution and 16 tokens, ' +
        'received 2352, 0 and 16',
    );
  });
});

it.each(checkpoints)('%s leaves no tensor behind', async (checkpoint) => {
  const before = native.memory().liveTensors;
  const target = DeepseekVLTarget.load(dirs.get(checkpoint)!);
  const sample = await sampleOf(checkpoint, 'pictures');
  scope(() => {
    target.prefill([sample], { auxLayerIds: [1], allLayers: true, inputEmbeddings: true });
  });
  target.dispose();
  expect(native.memory().liveTensors).toBe(before);
});
