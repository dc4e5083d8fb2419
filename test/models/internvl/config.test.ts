import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, tokensPerTile } from '../../../lib/models/internvl/config.js';
import { supportsEagle3 } from '../../../lib/serving/engine-support.js';
import { readTargetFacts } from '../../../lib/serving/target-facts.js';
import { temporary } from '../../helpers/tiny.js';
import { checkpoints, modelDir, type Changes } from './fixtures.js';

let scratch: string;
let remove: () => void;

beforeAll(() => {
  ({ dir: scratch, remove } = temporary());
});
afterAll(() => {
  remove();
});

let count = 0;
const copy = (checkpoint: string, changes?: Changes): string =>
  modelDir(scratch, checkpoint, `${checkpoint}-${count++}`, changes);

type Change = Changes[string];

describe('config.json', () => {
  it.each(checkpoints)('of %s says the same of the decoder to the target and to verify', (checkpoint) => {
    const dir = copy(checkpoint);
    const { text } = loadConfig(dir);
    const facts = readTargetFacts(dir);
    expect(facts).toMatchObject({
      architecture: text.architecture,
      hiddenSize: text.hiddenSize,
      numLayers: text.numLayers,
      numHeads: text.numHeads,
      headDim: text.headDim,
      vocabSize: text.vocabSize,
      maxPositionEmbeddings: text.maxPositionEmbeddings,
      multimodal: true,
      deepstackLayers: 0,
    });
    expect(facts.rope).toMatchObject({ theta: text.rotary.theta });
    expect([...text.eosTokenIds].sort((a, b) => a - b)).toEqual(facts.stopTokenIds);
    for (const engine of ['sglang', 'vllm'] as const) expect(supportsEagle3(engine, facts.architecture)).toBe(false);
  });

  it('in the original layout gives the same model', () => {
    const [one, two] = [loadConfig(copy('qwen2')), loadConfig(copy('original'))];
    expect(two.imageTokenId).toBe(one.imageTokenId);
    expect(two.layout).toBe('original');
    expect(tokensPerTile(two)).toBe(4);
    expect(tokensPerTile(loadConfig(copy('qwen3_moe')))).toBe(16);
  });

  it('may take an earlier layer of the tower', () => {
    const take = (layer: number): number =>
      loadConfig(
        copy('original', {
          'config.json': (config) => {
            Object.assign(config, { select_layer: layer });
          },
        }),
      ).featureLayers;
    expect([take(-1), take(-2), take(1)]).toEqual([2, 1, 1]);
    expect(() => take(-4)).toThrow('select_layer: expected a layer of the 2 of the vision tower, received -4');
  });

  const refused: [name: string, checkpoint: string, change: Change, message: string][] = [
    [
      'another backbone',
      'original',
      (config) => {
        config['llm_config']!['model_type'] = 'phi3';
      },
      'llm_config.model_type: expected one of llama, qwen2, qwen3, qwen3_moe, internlm2, received "phi3"',
    ],
    [
      'pixel shuffle of another version',
      'original',
      (config) => {
        Object.assign(config, { ps_version: 'v1' });
      },
      'ps_version: only pixel shuffle "v2" is supported',
    ],
    [
      'a size that needs interpolated positions',
      'original',
      (config) => {
        Object.assign(config, { force_image_size: 56 });
      },
      'force_image_size: expected vision_config.image_size 28, received 56',
    ],
    [
      'tiles that are not square',
      'qwen2',
      (config) => {
        config['vision_config']!['image_size'] = [28, 56];
      },
      'vision_config.image_size: only squares are supported',
    ],
    [
      'tiles of half tokens',
      'qwen2',
      (config) => {
        config['vision_config']!['image_size'] = 21;
      },
      'vision_config.image_size: expected a multiple of 14 pixels',
    ],
    [
      'a ratio that is no whole number of patches',
      'qwen2',
      (config) => {
        Object.assign(config, { downsample_ratio: 0.3 });
      },
      'downsample_ratio: expected 1 / n for a whole number n',
    ],
    [
      'class token kept',
      'qwen2',
      (config) => {
        Object.assign(config, { vision_feature_select_strategy: 'full' });
      },
      'vision_feature_select_strategy: only "default" is supported',
    ],
    [
      'an image token outside the vocabulary',
      'qwen2',
      (config) => {
        Object.assign(config, { image_token_id: 99999 });
      },
      'image_token_id: expected an id below vocab_size',
    ],
  ];

  it.each(refused)('refuses %s', (_, checkpoint, change, message) => {
    const dir = copy(checkpoint, { 'config.json': change });
    expect(() => loadConfig(dir)).toThrow(message);
    expect(() => loadConfig(dir)).toThrow('config.json');
  });

  it('needs the context token of the tokenizer in the original layout', () => {
    const dir = copy('original', {
      'tokenizer.json': (json) => {
        const added = json['added_tokens'] as unknown as { content: string }[];
        Object.assign(json, { added_tokens: added.filter(({ content }) => content !== '<IMG_CONTEXT>') });
      },
    });
    expect(() => loadConfig(dir)).toThrow('to add the token <IMG_CONTEXT>');
  });
});
