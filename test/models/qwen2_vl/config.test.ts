import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../lib/models/qwen2_vl/config.js';

/** As published: the text decoder's keys at the top level, and a vision tower that names its output `hidden_size`. */
const published = () => ({
  architectures: ['Qwen2VLForConditionalGeneration'],
  bos_token_id: 6,
  eos_token_id: 7,
  hidden_act: 'silu',
  hidden_size: 64,
  image_token_id: 10,
  intermediate_size: 128,
  max_position_embeddings: 1024,
  model_type: 'qwen2_vl',
  num_attention_heads: 4,
  num_hidden_layers: 3,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_scaling: { type: 'mrope', mrope_section: [2, 3, 3] } as object | undefined,
  rope_theta: 1e6,
  sliding_window: 32768,
  tie_word_embeddings: true,
  use_sliding_window: false,
  video_token_id: 11,
  vision_config: {
    depth: 2,
    embed_dim: 32,
    hidden_size: 64,
    in_chans: 3,
    mlp_ratio: 4,
    num_heads: 2,
    patch_size: 14,
    spatial_merge_size: 2,
    spatial_patch_size: 14,
    temporal_patch_size: 2,
  },
  vision_end_token_id: 13,
  vision_start_token_id: 12,
  vocab_size: 500,
});

describe('parseConfig', () => {
  it('reads a published file', () => {
    const { text, vision } = parseConfig(published(), 'config.json');
    expect(text).toMatchObject({
      modelType: 'qwen2_vl',
      headDim: 16,
      eosTokenIds: [7],
      form: { tieWordEmbeddings: true, attentionBias: true, queryKeyNorm: false },
    });
    expect(text.rotary).toMatchObject({ theta: 1e6, mropeSection: [2, 3, 3], mropeInterleaved: false });
    expect(vision).toEqual({
      depth: 2,
      hiddenSize: 32,
      intermediateSize: 128,
      numHeads: 2,
      inChannels: 3,
      patchSize: 14,
      temporalPatchSize: 2,
      spatialMergeSize: 2,
      outHiddenSize: 64,
      hiddenAct: 'quick_gelu',
      ropeTheta: 10000,
    });
  });

  it('takes the sections of transformers where a config has none', () => {
    const config = { ...published(), hidden_size: 512, rope_scaling: undefined };
    config.vision_config.hidden_size = 512;
    expect(parseConfig(config, 'config.json').text.rotary.mropeSection).toEqual([16, 24, 24]);
  });

  it.each<[string, (config: ReturnType<typeof published>) => unknown, RegExp]>([
    ['another model', (c) => ({ ...c, model_type: 'qwen2_5_vl' }), /^c\.json: model_type: .*qwen2_vl/],
    ['a merger of another width', (c) => ({ ...c, vision_config: { ...c.vision_config, hidden_size: 65 } }), /vision_config\.hidden_size: expected the text decoder's hidden_size 64, received 65/],
    ['heads that cannot turn by height and width', (c) => ({ ...c, vision_config: { ...c.vision_config, num_heads: 3 } }), /out of embed_dim 32, received 3 heads/],
    ['a ratio that is not whole', (c) => ({ ...c, vision_config: { ...c.vision_config, mlp_ratio: 2.01 } }), /mlp_ratio: expected a whole multiple of embed_dim 32/],
    ['sliding windows', (c) => ({ ...c, use_sliding_window: true }), /use_sliding_window: sliding-window attention is not supported/],
  ])('refuses %s', (_, change, message) => {
    expect(() => parseConfig(change(published()), 'c.json')).toThrow(message);
  });
});
