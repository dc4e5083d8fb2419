import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../lib/models/qwen3_vl/config.js';

const ids = { image_token_id: 10, video_token_id: 11, vision_start_token_id: 12, vision_end_token_id: 13 };

/** As published. */
const published = () => ({
  architectures: ['Qwen3VLForConditionalGeneration'],
  model_type: 'qwen3_vl',
  ...ids,
  tie_word_embeddings: true,
  text_config: {
    attention_bias: false,
    bos_token_id: 6,
    eos_token_id: 7,
    head_dim: 16,
    hidden_act: 'silu',
    hidden_size: 64,
    intermediate_size: 128,
    max_position_embeddings: 1024,
    model_type: 'qwen3_vl_text',
    num_attention_heads: 8,
    num_hidden_layers: 4,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-6,
    rope_scaling: { mrope_interleaved: true, mrope_section: [4, 2, 2], rope_type: 'default' } as object | undefined,
    rope_theta: 5e6,
    vocab_size: 500,
  },
  vision_config: {
    deepstack_visual_indexes: [0, 2],
    depth: 3,
    hidden_act: 'gelu_pytorch_tanh',
    hidden_size: 32,
    in_channels: 3,
    intermediate_size: 48,
    model_type: 'qwen3_vl',
    num_heads: 2,
    num_position_embeddings: 49,
    out_hidden_size: 64,
    patch_size: 16,
    spatial_merge_size: 2,
    temporal_patch_size: 2,
  },
});

const sparse = () => {
  const config = published();
  return {
    ...config,
    architectures: ['Qwen3VLMoeForConditionalGeneration'],
    model_type: 'qwen3_vl_moe',
    tie_word_embeddings: false,
    text_config: {
      ...config.text_config,
      decoder_sparse_step: 1,
      mlp_only_layers: [2],
      moe_intermediate_size: 24,
      norm_topk_prob: false,
      num_experts: 8,
      num_experts_per_tok: 2,
      // What transformers 5 writes there, whatever the model's.
      tie_word_embeddings: true,
    },
  };
};

describe('parseConfig', () => {
  it('reads a dense model', () => {
    const { text, vision, ...rest } = parseConfig(published(), 'config.json', [9]);
    expect(text).toMatchObject({
      architecture: 'Qwen3VLForConditionalGeneration',
      modelType: 'qwen3_vl',
      headDim: 16,
      numHeads: 8,
      eosTokenIds: [9, 7],
      form: { tieWordEmbeddings: true, attentionBias: false, queryKeyNorm: true },
    });
    expect(text.rotary).toMatchObject({ theta: 5e6, mropeSection: [4, 2, 2], mropeInterleaved: true });
    expect(text.moe).toBeUndefined();
    expect(vision).toEqual({
      depth: 3,
      hiddenSize: 32,
      intermediateSize: 48,
      numHeads: 2,
      inChannels: 3,
      patchSize: 16,
      temporalPatchSize: 2,
      spatialMergeSize: 2,
      outHiddenSize: 64,
      numPositionEmbeddings: 49,
      deepstackVisualIndexes: [0, 2],
      hiddenAct: 'gelu_tanh',
      ropeTheta: 10000,
    });
    expect(rest).toEqual({ imageTokenId: 10, videoTokenId: 11, visionStartTokenId: 12, visionEndTokenId: 13 });
  });

  it('reads a model with experts: their weights always sum to 1, and only the top level ties the head', () => {
    const { text } = parseConfig(sparse(), 'config.json');
    expect(text.form.tieWordEmbeddings).toBe(false);
    expect(text.moe).toMatchObject({ numExperts: 8, expertsPerToken: 2, intermediateSize: 24, normTopkProb: true });
    expect([0, 1, 2, 3].map((layer) => text.moe!.isSparse(layer))).toEqual([true, true, false, true]);
  });

  it('takes the sections of transformers where a config has none', () => {
    const config = published();
    config.text_config.head_dim = 128;
    config.text_config.rope_scaling = undefined;
    expect(parseConfig(config, 'config.json').text.rotary.mropeSection).toEqual([24, 20, 20]);
  });

  it.each<[string, (config: ReturnType<typeof published>) => unknown, RegExp]>([
    ['another model', (c) => ({ ...c, model_type: 'qwen2_vl' }), /^c\.json: model_type: .*qwen3_vl/],
    ['a missing field', (c) => ({ ...c, vision_config: { ...c.vision_config, depth: undefined } }), /^c\.json: vision_config\.depth: /],
    ['a table that is no square', (c) => ({ ...c, vision_config: { ...c.vision_config, num_position_embeddings: 48 } }), /vision_config\.num_position_embeddings: expected a square number, received 48/],
    ['features of a block that is not there', (c) => ({ ...c, vision_config: { ...c.vision_config, deepstack_visual_indexes: [1, 3] } }), /deepstack_visual_indexes: expected different integers below depth 3, received \[1, 3\]/],
    ['features of a block twice', (c) => ({ ...c, vision_config: { ...c.vision_config, deepstack_visual_indexes: [1, 1] } }), /received \[1, 1\]/],
    ['mergers of another width', (c) => ({ ...c, vision_config: { ...c.vision_config, out_hidden_size: 65 } }), /out_hidden_size: expected the text decoder's hidden_size 64, received 65/],
    ['heads that cannot turn by height and width', (c) => ({ ...c, vision_config: { ...c.vision_config, num_heads: 3 } }), /vision_config\.num_heads: expected heads of a size divisible by 4 out of hidden_size 32, received 3 heads/],
    ['sections of another head', (c) => ({ ...c, text_config: { ...c.text_config, rope_scaling: { mrope_section: [4, 2, 3] } } }), /mrope_section: expected a sum of 8/],
    ['an id outside the vocabulary', (c) => ({ ...c, video_token_id: 500 }), /video_token_id: expected an id below vocab_size 500/],
  ])('refuses %s', (_, change, message) => {
    expect(() => parseConfig(change(published()), 'c.json')).toThrow(message);
  });
});
