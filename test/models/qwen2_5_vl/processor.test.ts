import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Qwen2_5VLProcessor } from '../../../lib/models/qwen2_5_vl/processor.js';
import type { VisualFeature } from '../../../lib/models/qwen_vl/visual-feature.js';
import type { ContentPart, ConversationRecord } from '../../../lib/models/target.js';
import {
  expectMedium,
  part as readPart,
  record as readRecord,
  type FixtureMedium,
  type FixtureMessage,
  type FixturePart,
} from '../qwen_vl/records.js';

const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const media = join(fixtures, 'qwen2_5_vl_processor');

interface Case {
  messages: FixtureMessage[];
  input_ids: number[];
  media: FixtureMedium[];
  rules: Record<'engines' | 'transformers5', { positions: number[][]; delta: number }>;
}

const cases = JSON.parse(readFileSync(join(media, 'cases.json'), 'utf8')) as Record<string, Case>;

const part = (value: FixturePart): ContentPart => readPart(value, media);
const record = (messages: readonly FixtureMessage[]): ConversationRecord => readRecord(messages, media);

const userOf = (...content: ContentPart[]): ConversationRecord => ({
  id: 'r',
  where: 'data.jsonl:3',
  messages: [{ role: 'user', content }],
});

let scratch: string;
/** A model directory with the tokenizer and the given kind of configs. */
function modelDir(kind: 'nested' | 'flat', name: string = kind): string {
  const dir = join(scratch, name);
  cpSync(join(fixtures, 'tokenizer'), dir, { recursive: true });
  cpSync(join(media, kind), dir, { recursive: true });
  return dir;
}
let nested: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'eyas-processor-'));
  nested = modelDir('nested');
});
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

describe('parity with transformers', () => {
  const rules = ['engines', 'transformers5'] as const;
  it.each(Object.keys(cases))('%s', async (name) => {
    const expected = cases[name]!;
    const conversation = record(expected.messages);
    for (const positionRule of rules) {
      const processor = new Qwen2_5VLProcessor(nested, { positionRule });
      const sample = await processor.process(conversation);
      expect([...sample.inputIds]).toEqual(expected.input_ids);
      expect([...sample.positionIds]).toEqual(expected.rules[positionRule].positions.flat());
      expect(sample.positionDelta).toBe(expected.rules[positionRule].delta);
      expect(sample.axes).toBe(3);
      expect(sample.media.length).toBe(expected.media.length);
      expected.media.forEach((wanted, i) => {
        expectMedium(sample.media[i] as VisualFeature, wanted);
      });
    }
    const kinds = expected.media.map(({ kind }) => kind);
    const processor = new Qwen2_5VLProcessor(nested);
    const sample = await processor.process(conversation);
    expect(sample.modality).toBe(kinds.includes('video') ? 'video' : kinds.includes('image') ? 'image' : 'text');
  });

  it('reads the files of published checkpoints the same', async () => {
    const processor = new Qwen2_5VLProcessor(modelDir('flat'));
    const fromNested = new Qwen2_5VLProcessor(nested);
    expect(processor.settings).toEqual(fromNested.settings);
    const { messages, input_ids: ids } = cases['image, clip, image, clip']!;
    expect([...(await processor.process(record(messages))).inputIds]).toEqual(ids);
  });
});

describe('process', () => {
  it('marks what the assistant produced', async () => {
    const processor = new Qwen2_5VLProcessor(nested);
    const sample = await processor.process(record(cases['several turns']!.messages));
    const turns: string[] = [];
    let run: number[] = [];
    sample.inputIds.forEach((id, i) => {
      if (sample.lossMask[i]) run.push(id);
      if (run.length > 0 && !sample.lossMask[i + 1]) {
        turns.push(processor.decode(run));
        run = [];
      }
    });
    expect(turns).toEqual(['One.<|im_end|>', 'Another.<|im_end|>']);
    expect(sample).toMatchObject({ id: 'r' });
  });

  it('ends with the assistant header for generation', async () => {
    const processor = new Qwen2_5VLProcessor(nested);
    const conversation = userOf(part({ type: 'image', image: 'tiny.png' }), { type: 'text', text: 'What?' });
    const prompt = await processor.process(conversation, { addGenerationPrompt: true });
    expect(processor.decode(prompt.inputIds)).toMatch(/What\?<\|im_end\|>\n<\|im_start\|>assistant\n$/);
    expect(prompt.lossMask.every((bit) => bit === 0)).toBe(true);
  });

  it('applies bounds on pixels and frames', async () => {
    const options = { maxPixels: 56 * 56, videoMaxPixels: 56 * 56, fps: 8, maxFrames: 6 };
    const processor = new Qwen2_5VLProcessor(nested, options);
    const conversation = userOf(part({ type: 'image', image: 'large.jpg' }), part({ type: 'video', video: 'exact.mp4' }));
    const sample = await processor.process(conversation, { addGenerationPrompt: true });
    const grids = sample.media.map((feature) => (feature as VisualFeature).grid);
    expect(grids).toEqual([
      [1, 2, 4],
      [3, 2, 4],
    ]);
  });

  it('reads a clip from bytes', async () => {
    const processor = new Qwen2_5VLProcessor(nested);
    const bytes = readFileSync(join(media, 'exact.mp4'));
    const sample = await processor.process(userOf({ type: 'video', source: { bytes, mime: 'video/mp4' } }), {
      addGenerationPrompt: true,
    });
    const feature = sample.media[0] as VisualFeature;
    expect(createHash('sha256').update(new Uint8Array(feature.pixels.buffer)).digest('hex')).toBe(
      cases['clip']!.media[0]!.sha256,
    );
  });

  it('says where a record is and what is wrong with it', async () => {
    const processor = new Qwen2_5VLProcessor(nested);
    const refused = (conversation: ConversationRecord, message: RegExp) =>
      expect(processor.process(conversation, { addGenerationPrompt: true })).rejects.toThrow(message);
    await refused(
      userOf({ type: 'audio', source: { path: 'sound.wav' } }),
      /^data\.jsonl:3: expected image or video, received audio/,
    );
    await refused(userOf(part({ type: 'image', image: 'none.png' })), /^data\.jsonl:3: .*none\.png: /);
    await refused(userOf(part({ type: 'video', video: 'none.mp4' })), /^data\.jsonl:3: .*none\.mp4: .*No such file/);
    await refused(userOf({ type: 'text', text: 'see <|image_pad|>' }), /^data\.jsonl:3: .*<\|image_pad\|>/);
  });
});

describe('create', () => {
  const changed = (name: string, change: (config: Record<string, unknown>) => unknown): string => {
    const dir = modelDir('flat', `changed-${name}-${Math.random()}`);
    const path = join(dir, name);
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)));
    return dir;
  };
  const file = 'preprocessor_config.json';

  it('falls back on the image processor for video', () => {
    const dir = modelDir('flat', 'without-video');
    rmSync(join(dir, 'video_preprocessor_config.json'));
    const { settings } = new Qwen2_5VLProcessor(dir);
    expect(settings.video).toMatchObject({ maxPixels: 300 * 300, fps: 2, minFrames: 4, maxFrames: 768 });
  });

  it.each<[string, string, (config: Record<string, unknown>) => unknown, RegExp]>([
    ['another patch size', file, (c) => ({ ...c, patch_size: 16 }), /patch_size: expected 14 as in config\.json.* received 16/],
    ['a switch', file, (c) => ({ ...c, do_resize: false }), /do_resize: only true is supported/],
    ['an unknown filter', file, (c) => ({ ...c, resample: 0 }), /resample: /],
    ['nonsense', file, (c) => ({ ...c, min_pixels: -4 }), /min_pixels: /],
    ['bounds that cross', file, (c) => ({ ...c, min_pixels: 90001 }), /bounds of image pixels .* received 90001 and 90000/],
    ['ids that the tokenizer lacks', 'config.json', (c) => ({ ...c, image_token_id: 479 }), /to know the id 479/],
  ])('refuses %s', (_, name, change, message) => {
    expect(() => new Qwen2_5VLProcessor(changed(name, change))).toThrow(message);
  });

  it('shares a budget of tokens among frames where the model asks for it', async () => {
    // 12 tokens: 4233 pixels for each of 4 frames, where 84 × 56 have 4704.
    const name = 'video_preprocessor_config.json';
    const dir = changed(name, (c) => ({ ...c, cap_pixels_per_frame: true, max_video_tokens: 12 }));
    const conversation = userOf(part({ type: 'video', video: 'exact.mp4' }));
    const sample = await new Qwen2_5VLProcessor(dir).process(conversation, { addGenerationPrompt: true });
    expect((sample.media[0] as VisualFeature).grid).toEqual([2, 2, 4]);
  });

  it('names the files that are missing', () => {
    const dir = modelDir('flat', 'without-preprocessor');
    rmSync(join(dir, file));
    rmSync(join(dir, 'video_preprocessor_config.json'));
    expect(() => new Qwen2_5VLProcessor(dir)).toThrow(/expected preprocessor_config\.json, or processor_config\.json with image_processor/);
  });

  it('refuses a vocabulary smaller than the tokenizer', async () => {
    const dir = changed('config.json', (c) => ({ ...c, vocab_size: 457 }));
    const processor = new Qwen2_5VLProcessor(dir);
    const conversation = userOf({ type: 'text', text: 'hi <tool_call>' });
    await expect(processor.process(conversation, { addGenerationPrompt: true })).rejects.toThrow(
      /expected token ids below vocab_size 457, received 459/,
    );
  });
});
