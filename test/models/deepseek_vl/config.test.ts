import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, tokensPerPicture } from '../../../lib/models/deepseek_vl/config.js';
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
type Change = Changes[string];
const copy = (checkpoint: string, change?: Change): string =>
  modelDir(scratch, checkpoint, `${checkpoint}-${count++}`, change && { 'config.json': change });

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
    expect(text.eosTokenIds).toHaveLength(1);
    expect(supportsEagle3('sglang', facts.architecture)).toBe(false);
  });

  it('of published models leaves out what equals the defaults of its classes', () => {
    const dir = copy('original', (config) => {
      const { vocab_size } = config['language_config']!;
      config['language_config'] = { model_type: 'llama', max_position_embeddings: 16384, num_hidden_layers: 30, vocab_size };
      config['aligner_config']!['params'] = { depth: 2, input_dim: 1024, n_embed: 4096, projector_type: 'mlp_gelu' };
      config['vision_config']!['params'] = {
        image_size: 384,
        model_name: 'siglip_large_patch16_384',
        select_feature: 'same',
        select_layer: -1,
      };
    });
    const config = loadConfig(dir);
    const decoder = { hiddenSize: 4096, numLayers: 30, numHeads: 32, headDim: 128, maxPositionEmbeddings: 16384 };
    expect(config.text).toMatchObject({ ...decoder, intermediateSize: 11008, rotary: { theta: 10000 } });
    expect(readTargetFacts(dir)).toMatchObject(decoder);
    expect(config.vision).toMatchObject({ depth: 24, hiddenSize: 1024, intermediateSize: 4096, numHeads: 16, patchSize: 16 });
    expect(tokensPerPicture(config)).toBe(576);
  });

  const params = (config: Parameters<Change>[0], part: string): Record<string, unknown> =>
    config[part]!['params'] as Record<string, unknown>;

  it('may end the tower at an earlier layer', () => {
    const take = (layer: number): number =>
      loadConfig(
        copy('original', (config) => {
          params(config, 'vision_config')['select_layer'] = layer;
        }),
      ).vision.depth;
    expect([take(-1), take(-2), take(1)]).toEqual([2, 1, 1]);
  });

  const refused: [name: string, checkpoint: string, change: Change, message: string][] = [
    [
      'Janus',
      'original',
      (config) => {
        config['gen_vision_config'] = { cls: 'VQ-16' };
      },
      'gen_vision_config: Janus, which makes pictures and has the same class, is not supported',
    ],
    [
      'another backbone',
      'plain',
      (config) => {
        config['text_config']!['model_type'] = 'qwen2';
      },
      'text_config.model_type: Invalid input: expected "llama"',
    ],
    [
      'a projector that does not fit the tower',
      'original',
      (config) => {
        params(config, 'aligner_config')['projector_type'] = 'low_high_hybrid_split_mlp_gelu';
      },
      'aligner_config.params.projector_type: expected mlp_gelu after a CLIPVisionTower',
    ],
    [
      'a projector of other widths',
      'original-hybrid',
      (config) => {
        params(config, 'aligner_config')['input_dim'] = 17;
      },
      "aligner_config.params.input_dim: expected the towers' 16 and 16, received 17",
    ],
    [
      'a global layer that is not there',
      'hybrid',
      (config) => {
        config['high_res_vision_config']!['global_attn_indexes'] = [2, 5];
      },
      'global_attn_indexes: expected layers below 3, received 2, 5',
    ],
    [
      'a tower without relative positions',
      'hybrid',
      (config) => {
        config['high_res_vision_config']!['use_rel_pos'] = false;
      },
      'high_res_vision_config.use_rel_pos: only true is supported',
    ],
    [
      'parts of patches',
      'plain',
      (config) => {
        config['vision_config']!['image_size'] = 30;
      },
      'vision tower: image_size: expected a multiple of the patch size 7, received 30',
    ],
    [
      'an image token outside the vocabulary',
      'plain',
      (config) => {
        delete config['image_token_id'];
      },
      'image_token_id: expected an id below vocab_size',
    ],
  ];

  it.each(refused)('refuses %s', (_, checkpoint, change, message) => {
    const dir = copy(checkpoint, change);
    expect(() => loadConfig(dir)).toThrow(message);
    expect(() => loadConfig(dir)).toThrow('config.json');
  });
});
