import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig as parseQwen2_5 } from '../../../lib/models/qwen2_5_omni/config.js';
import { parseConfig as parseQwen3 } from '../../../lib/models/qwen3_omni/config.js';
import { layouts, fixture, type OmniFamily } from './fixtures.js';

type Raw = Record<string, unknown>;

const read = (family: OmniFamily, layout: string): Raw =>
  JSON.parse(readFileSync(join(fixture(family, layout), 'config.json'), 'utf8')) as Raw;

/** The thinker's part of a copy of a config.json. */
const thinkerOf = (raw: Raw): Raw => (raw['thinker_config'] ?? raw) as Raw;

function changed(family: OmniFamily, layout: string, change: (thinker: Raw) => void): Raw {
  const raw = read(family, layout);
  change(thinkerOf(raw));
  return raw;
}

describe.each(layouts)('config.json of a %s', (layout) => {
  const prefix = layout === 'whole' ? 'thinker_config.' : '';

  it('is read for Qwen3-Omni', () => {
    const config = parseQwen3(read('qwen3_omni', layout), 'config.json');
    expect(config.positionsPerSecond).toBe(13);
    expect(config.text.rotary.mropeInterleaved).toBe(true);
    expect(config.text.form.queryKeyNorm).toBe(true);
    expect(config.audio.chunkFrames).toBe(100);
    expect(config.text.architecture).toBe(
      layout === 'whole' ? 'Qwen3OmniMoeForConditionalGeneration' : 'Qwen3OmniMoeThinkerForConditionalGeneration',
    );
  });

  it('is read for Qwen2.5-Omni, whose ids are called indexes', () => {
    const config = parseQwen2_5(read('qwen2_5_omni', layout), 'config.json');
    expect(config.imageTokenId).toBe(thinkerOf(read('qwen2_5_omni', layout))['image_token_index']);
    expect(config.positionsPerSecond).toBe(25);
    expect(config.text.rotary.mropeInterleaved).toBe(false);
    expect(config.text.form.attentionBias).toBe(true);
  });

  it('takes norm_topk_prob as transformers does: on where it is absent', () => {
    const flag = (value: unknown): boolean | undefined => {
      const raw = changed('qwen3_omni', layout, (thinker) => {
        const text = thinker['text_config'] as Raw;
        if (value === undefined) delete text['norm_topk_prob'];
        else text['norm_topk_prob'] = value;
      });
      return parseQwen3(raw, 'config.json').text.moe?.normTopkProb;
    };
    expect([flag(true), flag(false), flag(undefined)]).toEqual([true, false, true]);
  });

  it.each<[string, (thinker: Raw) => void, string]>([
    ['no audio', (t) => delete t['audio_config'], 'audio_config'],
    ['an audio width', (t) => ((t['audio_config'] as Raw)['output_dim'] = 7), 'audio_config.output_dim: expected the text'],
    ['a chunk', (t) => ((t['audio_config'] as Raw)['n_window'] = 20), 'audio_config.n_window: expected chunks of 13 tokens'],
    ['a window', (t) => ((t['audio_config'] as Raw)['n_window_infer'] = 50), 'audio_config.n_window_infer: expected at least'],
    ['heads', (t) => ((t['audio_config'] as Raw)['encoder_attention_heads'] = 5), 'audio_config.encoder_attention_heads'],
    ['an id', (t) => delete t['audio_token_id'], 'audio_token_id: expected a number, received nothing'],
    ['a large id', (t) => (t['video_token_id'] = 1e6), 'video_token_id: expected an id below vocab_size'],
    ['a start', (t) => delete t['audio_start_token_id'], 'audio_start_token_id'],
    ['a vision width', (t) => ((t['vision_config'] as Raw)['out_hidden_size'] = 7), 'vision_config.out_hidden_size'],
  ])('names what is wrong with %s', (_, change, message) => {
    expect(() => parseQwen3(changed('qwen3_omni', layout, change), 'config.json')).toThrow(`config.json: ${prefix}${message}`);
  });
});

it('refuses another model type', () => {
  expect(() => parseQwen3({ ...read('qwen3_omni', 'whole'), model_type: 'qwen3_vl' }, 'config.json')).toThrow('config.json: model_type');
  expect(() => parseQwen3({ model_type: 'qwen3_omni_moe' }, 'config.json')).toThrow('thinker_config');
});
