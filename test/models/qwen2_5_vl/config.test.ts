import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../../lib/models/qwen2_5_vl/config.js';

const text = {
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 128,
  vocab_size: 500,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 1024,
  hidden_act: 'silu',
  use_sliding_window: false,
  sliding_window: 32768,
};
const vision = {
  depth: 3,
  hidden_size: 32,
  intermediate_size: 48,
  num_heads: 2,
  patch_size: 14,
  spatial_merge_size: 2,
  window_size: 112,
  fullatt_block_indexes: [1],
  out_hidden_size: 64,
  tokens_per_second: 2,
  hidden_act: 'silu',
};
const ids = { image_token_id: 10, video_token_id: 11, vision_start_token_id: 12, vision_end_token_id: 13 };

/** As transformers 5 writes it. */
const nested = () => ({
  architectures: ['Qwen2_5_VLForConditionalGeneration'],
  model_type: 'qwen2_5_vl',
  ...ids,
  tie_word_embeddings: false,
  text_config: {
    ...text,
    eos_token_id: 7,
    bos_token_id: 151643,
    pad_token_id: null,
    rope_parameters: { rope_type: 'default', rope_theta: 5e5, mrope_section: [2, 3, 3] },
  },
  vision_config: {
    ...vision,
    in_channels: 3,
    temporal_patch_size: 2,
    rope_parameters: { rope_theta: 10000, rope_type: 'axial' },
  },
});

/** As published checkpoints have it. */
const flat = () => ({
  architectures: ['Qwen2_5_VLForConditionalGeneration'],
  model_type: 'qwen2_5_vl',
  ...ids,
  ...text,
  tie_word_embeddings: true,
  bos_token_id: 6,
  eos_token_id: 7,
  rope_theta: 1e6,
  rope_scaling: { type: 'mrope', mrope_section: [2, 3, 3] },
  vision_config: { ...vision, in_chans: 3, spatial_patch_size: 14 },
});

describe('parseConfig', () => {
  it('reads a nested file', () => {
    const config = parseConfig(nested(), 'config.json', [9, 7]);
    expect(config.text).toMatchObject({
      architecture: 'Qwen2_5_VLForConditionalGeneration',
      modelType: 'qwen2_5_vl',
      hiddenSize: 64,
      numLayers: 4,
      numHeads: 4,
      numKeyValueHeads: 2,
      headDim: 16,
      intermediateSize: 128,
      vocabSize: 500,
      maxPositionEmbeddings: 1024,
      activation: 'silu',
      form: { tieWordEmbeddings: false, attentionBias: true, queryKeyNorm: false },
      eosTokenIds: [9, 7],
    });
    expect(config.text.rotary).toMatchObject({ theta: 5e5, headDim: 16, mropeSection: [2, 3, 3] });
    expect(config.text.bosTokenId).toBeUndefined(); // outside the vocabulary
    expect(config.vision).toEqual({
      depth: 3,
      hiddenSize: 32,
      intermediateSize: 48,
      numHeads: 2,
      inChannels: 3,
      patchSize: 14,
      temporalPatchSize: 2,
      spatialMergeSize: 2,
      windowSize: 112,
      fullAttentionBlockIndexes: [1],
      outHiddenSize: 64,
      tokensPerSecond: 2,
      hiddenAct: 'silu',
      ropeTheta: 10000,
    });
    expect(config).toMatchObject({ imageTokenId: 10, videoTokenId: 11, visionStartTokenId: 12, visionEndTokenId: 13 });
  });

  it('reads a flat file', () => {
    const config = parseConfig(flat(), 'config.json');
    expect(config.text).toMatchObject({ form: { tieWordEmbeddings: true }, bosTokenId: 6, eosTokenIds: [7] });
    expect(config.text.rotary.theta).toBe(1e6);
    expect(config.text.rotary.scaling).toEqual({ type: 'mrope', mrope_section: [2, 3, 3] });
    expect(config.vision).toEqual(parseConfig(nested(), 'config.json').vision);
  });

  it.each<[string, (raw: ReturnType<typeof nested>) => unknown, RegExp]>([
    ['a missing field', (r) => ({ ...r, text_config: { ...r.text_config, hidden_size: undefined } }), /^c\.json: text_config\.hidden_size: .*number/],
    ['nonsense', (r) => ({ ...r, vision_config: { ...r.vision_config, depth: -1 } }), /^c\.json: vision_config\.depth: /],
    ['another model', (r) => ({ ...r, model_type: 'qwen2_vl' }), /^c\.json: model_type: .*qwen2_5_vl/],
    ['sliding windows', (r) => ({ ...r, text_config: { ...r.text_config, use_sliding_window: true } }), /text_config\.use_sliding_window: sliding-window attention is not supported/],
    ['a scaled rope', (r) => ({ ...r, text_config: { ...r.text_config, rope_parameters: { ...r.text_config.rope_parameters, rope_type: 'yarn' } } }), /text_config\.rope_parameters\.rope_type: /],
    ['sections of another head size', (r) => ({ ...r, text_config: { ...r.text_config, rope_parameters: { ...r.text_config.rope_parameters, mrope_section: [2, 3, 4] } } }), /rope_parameters\.mrope_section: expected a sum of 8 .*received 9/],
    ['no rope', (r) => ({ ...r, text_config: { ...r.text_config, rope_parameters: undefined } }), /rope_scaling: expected an object with mrope_section/],
    ['a merger of another width', (r) => ({ ...r, vision_config: { ...r.vision_config, out_hidden_size: 65 } }), /out_hidden_size: expected the text decoder's hidden_size 64, received 65/],
    ['heads that do not divide', (r) => ({ ...r, text_config: { ...r.text_config, num_key_value_heads: 3 } }), /num_key_value_heads: expected a divisor of 4, received 3/],
    ['an id outside the vocabulary', (r) => ({ ...r, image_token_id: 500 }), /image_token_id: expected an id below vocab_size 500, received 500/],
  ])('refuses %s', (_, change, message) => {
    expect(() => parseConfig(change(nested()), 'c.json')).toThrow(message);
  });
});

describe('loadConfig', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'eyas-config-'));
  });
  afterEach(() => {
    rmSync(dir, { recursive: true });
  });
  const write = (name: string, value: unknown): void => {
    writeFileSync(join(dir, name), JSON.stringify(value));
  };

  it('collects stop tokens from the generation config, the tokenizer and the config', () => {
    write('config.json', nested());
    write('generation_config.json', { eos_token_id: [3, 4, 100000] });
    write('tokenizer_config.json', { eos_token: '<|im_end|>' });
    write('tokenizer.json', { added_tokens: [{ id: 8, content: '<|im_end|>' }] });
    expect(loadConfig(dir).text.eosTokenIds).toEqual([3, 4, 8, 7]);
  });

  it('names a file that is missing or broken', () => {
    expect(() => loadConfig(dir)).toThrow(join(dir, 'config.json'));
    writeFileSync(join(dir, 'config.json'), '{');
    expect(() => loadConfig(dir)).toThrow(join(dir, 'config.json'));
  });
});
