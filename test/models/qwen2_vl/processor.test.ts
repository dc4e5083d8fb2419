import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadProcessor } from '../../../lib/models/registry.js';
import type { VisualFeature } from '../../../lib/models/qwen_vl/visual-feature.js';
import { temporaryDirectory } from '../../hub/temporary.js';
import { expectMedium, record, type FixtureMedium, type FixtureMessage } from '../qwen_vl/records.js';

const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
/** Qwen2-VL's processors are those of Qwen2.5-VL: ids, grids and pixels are the same, positions in time are not. */
const media = join(fixtures, 'qwen2_5_vl_processor');
const model = join(temporaryDirectory(), 'model');

interface Case {
  messages: FixtureMessage[];
  input_ids: number[];
  media: FixtureMedium[];
}
const cases = JSON.parse(readFileSync(join(media, 'cases.json'), 'utf8')) as Record<string, Case>;

let videoTokenId: number;
beforeAll(() => {
  cpSync(join(fixtures, 'tokenizer'), model, { recursive: true });
  cpSync(join(media, 'flat'), model, { recursive: true });
  const path = join(model, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { hidden_size: number; video_token_id: number };
  videoTokenId = config.video_token_id;
  const vision = { depth: 2, embed_dim: 16, num_heads: 2, mlp_ratio: 2, hidden_size: config.hidden_size };
  const changes = { model_type: 'qwen2_vl', architectures: ['Qwen2VLForConditionalGeneration'], vision_config: vision };
  writeFileSync(path, JSON.stringify({ ...config, ...changes }));
});

describe('Qwen2-VL', () => {
  it.each(['text only', 'several turns', 'clip', 'long clip', 'image, clip, image, clip'])('%s', async (name) => {
    const { messages, input_ids: ids, media: expected } = cases[name]!;
    const sample = await loadProcessor(model).process(record(messages, media));
    expect([...sample.inputIds]).toEqual(ids);
    expect(sample.media.length).toBe(expected.length);
    expected.forEach((wanted, i) => {
      expectMedium(sample.media[i] as VisualFeature, wanted);
    });
  });

  it.each(['engines', 'transformers5'] as const)('counts the patches of a clip, whatever their time: %s', async (positionRule) => {
    const { messages, media: expected } = cases['long clip']!;
    const sample = await loadProcessor(model, { positionRule }).process(record(messages, media));
    const [frames, height, width] = expected[0]!.grid as [number, number, number];
    const start = sample.inputIds.indexOf(videoTokenId);
    const perFrame = (height * width) / 4;
    const times = Array.from({ length: frames }, (_, k) => sample.positionIds[start + k * perFrame]);
    expect(times).toEqual(Array.from({ length: frames }, (_, k) => start + k));
    const [side, last] = [Math.max(height, width) / 2, frames];
    expect(last).toBeGreaterThan(side);
    const after = sample.positionIds[start + frames * perFrame];
    expect(after).toBe(start + (positionRule === 'engines' ? last : side));
  });
});
