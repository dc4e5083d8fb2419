import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { oneDecimal, Qwen3VLProcessor } from '../../../lib/models/qwen3_vl/processor.js';
import { resizeClip, sampleFrames } from '../../../lib/models/qwen3_vl/video.js';
import type { VideoSettings } from '../../../lib/models/qwen_vl/settings.js';
import type { VisualFeature } from '../../../lib/models/qwen_vl/visual-feature.js';
import { loadProcessor } from '../../../lib/models/registry.js';
import { temporaryDirectory } from '../../hub/temporary.js';
import { expectMedium, record, type FixtureMedium, type FixtureMessage } from '../qwen_vl/records.js';

const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const images = join(fixtures, 'qwen2_5_vl_processor');
const clips = join(fixtures, 'qwen3_vl_processor');

interface Case {
  messages: FixtureMessage[];
  media: FixtureMedium[];
  rules: Record<
    'engines' | 'transformers5',
    { input_ids: number[]; positions: number[][]; delta: number }
  >;
}

interface Size {
  total: number;
  rate: number;
  fps: number;
  min_frames: number;
  max_frames: number;
  indices: number[];
  height: number;
  width: number;
  min_pixels: number;
  max_pixels: number;
  size: [number, number] | null;
}

const read = (name: string): unknown => JSON.parse(readFileSync(join(clips, name), 'utf8'));
const cases = read('cases.json') as Record<string, Case>;
const scratch = temporaryDirectory();
const model = join(scratch, 'model');

function modelDir(dir: string): void {
  mkdirSync(dir);
  cpSync(join(fixtures, 'tokenizer'), dir, { recursive: true });
  for (const name of ['config.json', 'processor_config.json']) cpSync(join(clips, name), join(dir, name));
}

beforeAll(() => {
  modelDir(model);
});

describe('parity with transformers', () => {
  it.each(Object.keys(cases))('%s', async (name) => {
    const { messages, media, rules } = cases[name]!;
    for (const positionRule of ['engines', 'transformers5'] as const) {
      const expected = rules[positionRule];
      const sample = await loadProcessor(model, { positionRule }).process(record(messages, images, clips));
      expect([...sample.inputIds]).toEqual(expected.input_ids);
      expect([...sample.positionIds]).toEqual(expected.positions.flat());
      expect(sample.positionDelta).toBe(expected.delta);
      expect(sample.media.length).toBe(media.length);
      media.forEach((wanted, i) => {
        expectMedium(sample.media[i] as VisualFeature, wanted);
      });
    }
  });

  it.each((read('sizes.json') as Size[]).map((value, i) => [i, value] as const))('frames and size of clip %i', (_, wanted) => {
    const settings = {
      temporalPatchSize: 2,
      minFrames: wanted.min_frames,
      maxFrames: wanted.max_frames,
      minPixels: wanted.min_pixels,
      maxPixels: wanted.max_pixels,
    } as VideoSettings;
    const info = { frames: wanted.total, fps: wanted.rate, duration: 1, width: 1, height: 1 };
    expect(sampleFrames(info, settings, wanted.fps)).toEqual(wanted.indices);
    const resize = () => resizeClip(wanted, wanted.indices.length, 32, settings);
    if (!wanted.size) expect(resize).toThrow('aspect ratio of at most 200');
    else expect(Object.values(resize())).toEqual(wanted.size);
  });
});

it('reads the files of published checkpoints, and what transformers has where they are silent', () => {
  const dir = join(scratch, 'published');
  modelDir(dir);
  rmSync(join(dir, 'processor_config.json'));
  const common = { patch_size: 16, temporal_patch_size: 2, merge_size: 2 };
  const half = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
  const image = { ...common, ...half, size: { longest_edge: 16777216, shortest_edge: 65536 } };
  writeFileSync(join(dir, 'preprocessor_config.json'), JSON.stringify(image));
  writeFileSync(join(dir, 'video_preprocessor_config.json'), JSON.stringify({ merge_size: 2 }));
  const { settings } = new Qwen3VLProcessor(dir, { maxFrames: 32 });
  expect(settings.image).toMatchObject({ minPixels: 65536, maxPixels: 16777216, patchSize: 16, mean: half.image_mean });
  expect(settings.video).toMatchObject({
    patchSize: 16,
    minPixels: 128 * 32 * 32,
    maxPixels: 768 * 32 * 32,
    mean: [127.5, 127.5, 127.5],
    fps: 2,
    minFrames: 4,
    maxFrames: 32,
    maxVideoTokens: 768,
  });
});

describe('clips', () => {
  const prompt = async (positionRule: 'engines' | 'transformers5') => {
    const processor = new Qwen3VLProcessor(model, { positionRule });
    const messages = cases['clip at its own rate']!.messages;
    return processor.decode((await processor.process(record(messages, images, clips))).inputIds);
  };
  const frame = `<|vision_start|>${'<|video_pad|>'.repeat(6)}<|vision_end|>`;
  const frames = `<0.2 seconds>${frame}<1.2 seconds>${frame}<2.0 seconds>${frame}`;

  it('stand in the place of the pair that the template prints', async () => {
    expect(await prompt('engines')).toContain(`user\n${frames}What?`);
  });

  it('stand inside the pair in transformers 5', async () => {
    expect(await prompt('transformers5')).toContain(`user\n<|vision_start|>${frames}<|vision_end|>What?`);
  });

  it('need as many frames as a patch spans', () => {
    const settings = { temporalPatchSize: 2, fps: 2, minFrames: 4, maxFrames: 8 } as VideoSettings;
    const info = { frames: 1, fps: 8, duration: 1, width: 1, height: 1 };
    expect(() => sampleFrames(info, settings)).toThrow('expected a clip of at least 2 frames, received 1');
    expect(() => sampleFrames(info, settings, 0)).toThrow('expected a positive fps, received 0');
  });

  it('keep each frame below a budget of tokens where the model asks for it', async () => {
    const dir = join(scratch, 'capped');
    modelDir(dir);
    const path = join(dir, 'processor_config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as { video_processor: object };
    // 3 tokens of 32 × 32 pixels a frame, where 96 × 64 have 6.
    const capped = { ...config.video_processor, cap_pixels_per_frame: true, max_video_tokens: 3, size: { shortest_edge: 1024, longest_edge: 409600 } };
    writeFileSync(path, JSON.stringify({ ...config, video_processor: capped }));
    const sample = await new Qwen3VLProcessor(dir).process(record(cases['clip']!.messages, images, clips));
    expect((sample.media[0] as VisualFeature).grid).toEqual([3, 2, 4]);
    rmSync(dir, { recursive: true });
  });

  it('take no sound', async () => {
    const content = [{ type: 'audio' as const, source: { path: 'sound.wav' } }];
    const sound = { id: 'r', where: 'data.jsonl:3', messages: [{ role: 'user', content }] };
    await expect(new Qwen3VLProcessor(model).process(sound)).rejects.toThrow(
      /^data\.jsonl:3: expected image or video, received audio, which Qwen3-VL does not take/,
    );
  });
});

it('writes times as Python does', () => {
  expect([0, 0.25, 0.35, 0.75, 1.25, 1.75, 0.05, 2.96, 9.96, 10.25, 100.75].map(oneDecimal)).toEqual([
    '0.0', '0.2', '0.3', '0.8', '1.2', '1.8', '0.1', '3.0', '10.0', '10.2', '100.8',
  ]);
});
