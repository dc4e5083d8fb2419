import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { TiledFeature } from '../../../lib/models/internvl/feature.js';
import { InternVLProcessor } from '../../../lib/models/internvl/processor.js';
import { InternVLTarget } from '../../../lib/models/internvl/target.js';
import { loadTarget } from '../../../lib/models/registry.js';
import type { Sample } from '../../../lib/models/target.js';
import { native } from '../../../lib/native.js';
import { narrow, scope, toFloats, toInts, ops } from '../../../lib/tensor.js';
import { relativeError } from '../../helpers/reference.js';
import { temporary } from '../../helpers/tiny.js';
import { cases, checkpoints, clipOptions, everyFifthRow, expectedValues, modelDir, record } from './fixtures.js';

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

function open(checkpoint: string): InternVLTarget {
  const target = InternVLTarget.load(dirs.get(checkpoint)!);
  onTestFinished(() => {
    target.dispose();
  });
  return target;
}

const sampleOf = (checkpoint: string, name: string): Promise<Sample> =>
  InternVLProcessor.create(dirs.get(checkpoint)!, clipOptions).process(record(name));

describe.each(checkpoints)('%s equals transformers', (checkpoint) => {
  it.each(cases)('%s', async (name) => {
    const target = open(checkpoint);
    const sample = await sampleOf(checkpoint, name);
    const expected = expectedValues(checkpoint, name);
    expect([...sample.inputIds]).toEqual(expected.inputIds);
    expect(sample.axes).toBe(1);
    expect([...sample.positionIds]).toEqual(expected.inputIds.map((_, i) => i));
    const actual = scope(() => {
      const { hiddenStates, lastHiddenStates } = target.prefill([sample], { auxLayerIds: [], allLayers: true });
      return { all: toFloats(hiddenStates!), last: toFloats(lastHiddenStates) };
    });
    const picked = (states: Float32Array) =>
      everyFifthRow(states, sample.inputIds.length, target.info.hiddenSize);
    expect(relativeError(picked(actual.all), expected.hiddenStates)).toBeLessThan(tolerance);
    expect(relativeError(picked(actual.last), expected.lastHiddenStates)).toBeLessThan(tolerance);
  });

  it('and packed samples give what each gives alone', async () => {
    const target = open(checkpoint);
    const samples = await Promise.all(['clip', 'text', 'pictures', 'clip'].map((name) => sampleOf(checkpoint, name)));
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
      const next = (rows: typeof rest.lastHiddenStates) => [...toInts(ops.argmax(target.logits(rows)))];
      expect(next(rest.lastHiddenStates)).toEqual(next(narrow(whole.lastHiddenStates, 0, cut, length - cut)));
    });
  });
});

describe('loading', () => {
  it.each([
    ['qwen2', 'InternVLForConditionalGeneration'],
    ['original', 'InternVLChatModel'],
  ])('%s is found as %s', (checkpoint, architecture) => {
    const target = loadTarget(dirs.get(checkpoint)!);
    onTestFinished(() => {
      target.dispose();
    });
    expect(target).toBeInstanceOf(InternVLTarget);
    expect(target.info.architecture).toBe(architecture);
  });

  it('ties the head where the checkpoint has none', () => {
    const tied = open('qwen2');
    expect(tied.lmHead).toBe(tied.embedTokens);
    const untied = open('internlm2');
    expect(untied.lmHead).not.toBe(untied.embedTokens);
  });

  it('takes a head that is there, though the config says tied', () => {
    const dir = modelDir(scratch, 'qwen3_moe', 'declared-tied', {
      'config.json': (config) => {
        delete config['tie_word_embeddings'];
      },
    });
    const target = InternVLTarget.load(dir);
    onTestFinished(() => {
      target.dispose();
    });
    expect(target.lmHead).not.toBe(target.embedTokens);
  });

  it('lists weights that are missing or of another shape, and leaves no tensor', () => {
    const before = native.memory().liveTensors;
    const load = (checkpoint: string, name: string, change: Parameters<typeof modelDir>[3]) => () =>
      InternVLTarget.load(modelDir(scratch, checkpoint, name, change));
    expect(
      load('internlm2', 'more-layers', {
        'config.json': (config) => {
          config['llm_config']!['num_hidden_layers'] = 4;
          config['vision_config']!['intermediate_size'] = 25;
        },
      }),
    ).toThrow(/layers\.3\.attention\.wqkv\.weight \[64, 32\][^]*layers\.0\.mlp\.fc1\.weight: expected \[25, 16\], received \[24, 16\]/);
    expect(
      load('qwen2', 'final-norm', {
        'config.json': (config) => {
          config['vision_config']!['use_mean_pooling'] = false;
        },
      }),
    ).toThrow('vision_tower.layernorm.weight [16]');
    expect(native.memory().liveTensors).toBe(before);
  });
});

describe('prefill refuses', () => {
  it('pixels that do not fit their tiles', async () => {
    const target = open('qwen2');
    const sample = await sampleOf('qwen2', 'clip');
    const medium = sample.media[1] as TiledFeature;
    const broken = { ...sample, media: [sample.media[0]!, { ...medium, tiles: medium.tiles + 1 }] };
    expect(() => target.prefill([broken], { auxLayerIds: [] })).toThrow(
      /\[prefill\] sample clip, medium 1 \(video\): expected .* for 7 tiles/,
    );
  });

  it('placeholders that no medium fills', async () => {
    const target = open('qwen2');
    const sample = await sampleOf('qwen2', 'pictures');
    expect(() => target.prefill([{ ...sample, media: sample.media.slice(1) }], { auxLayerIds: [] })).toThrow(
      /more of id/,
    );
  });
});

it('leaves no tensor behind', async () => {
  const before = native.memory().liveTensors;
  const target = InternVLTarget.load(dirs.get('original')!);
  const sample = await sampleOf('original', 'clip');
  scope(() => {
    target.prefill([sample], { auxLayerIds: [1], allLayers: true, inputEmbeddings: true });
  });
  target.dispose();
  expect(native.memory().liveTensors).toBe(before);
});
