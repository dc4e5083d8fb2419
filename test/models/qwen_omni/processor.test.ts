import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadProcessor } from '../../../lib/models/registry.js';
import type { ContentPart, ConversationRecord } from '../../../lib/models/target.js';
import { copyModel, fixture } from './fixtures.js';

const family = 'qwen3_omni';
const media = (name: string): string => join(fixture(family, 'shared'), name);
const clip = { path: media('clip.mov') };

/** A wav file of zeros at 16 kHz. */
function silence(samples: number): Uint8Array {
  const bytes = Buffer.alloc(44 + 2 * samples);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 2 * samples, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(16_000, 24);
  bytes.writeUInt32LE(32_000, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * samples, 40);
  return bytes;
}

const record = (...content: ContentPart[]): ConversationRecord => ({
  id: 'r',
  where: 'data.jsonl:7',
  messages: [
    { role: 'user', content: [...content, { type: 'text', text: 'What is this?' }] },
    { role: 'assistant', content: 'A tone.' },
  ],
});

const sound = (samples: number): ContentPart => ({
  type: 'audio',
  source: { bytes: silence(samples), mime: 'audio/wav' },
});

describe('processor of an omni family', () => {
  let model: ReturnType<typeof copyModel>;
  beforeAll(() => {
    model = copyModel(family, 'whole');
  });
  afterAll(() => {
    model.remove();
  });

  const kinds = async (part: ContentPart, options = {}): Promise<string[]> => {
    const { media: features } = await loadProcessor(model.path, options).process(record(part));
    return features.map(({ kind }) => kind);
  };

  it('hears clips that have a sound track where asked to, unless a part says otherwise', async () => {
    const part: ContentPart = { type: 'video', source: clip };
    expect(await kinds(part)).toEqual(['video']);
    expect(await kinds(part, { useAudioInVideo: true })).toEqual(['video', 'audio']);
    expect(await kinds({ ...part, use_audio_in_video: true })).toEqual(['video', 'audio']);
    expect(await kinds({ ...part, use_audio_in_video: false }, { useAudioInVideo: true })).toEqual(['video']);
  });

  it('counts clips as one frame a second where nobody asks for a rate', async () => {
    const seconds = async (fps?: number): Promise<unknown> => {
      const part: ContentPart = { type: 'video', source: clip, ...(fps && { fps }) };
      return (await loadProcessor(model.path).process(record(part))).media[0]!['secondPerGrid'];
    };
    expect(await seconds()).toBe(2);
    expect(await seconds(4)).toBe(0.5);
  });

  it('pads sounds to the longest of the record: a begun hop counts where another is longer', async () => {
    const tokensOf = async (...parts: ContentPart[]): Promise<unknown[]> =>
      (await loadProcessor(model.path).process(record(...parts))).media.map((feature) => feature['frames']);
    expect(await tokensOf(sound(1700))).toEqual([10]);
    expect(await tokensOf(sound(1700), sound(8000))).toEqual([11, 50]);
  });

  it('names the record of a sound that is too short, empty, or none', async () => {
    const fail = (part: ContentPart): Promise<unknown> => loadProcessor(model.path).process(record(part));
    await expect(fail(sound(100))).rejects.toThrow(
      /data\.jsonl:7: .*expected a sound of at least 201 samples at 16 kHz .*, received 100/,
    );
    await expect(fail(sound(0))).rejects.toThrow(/data\.jsonl:7: .*holds no sound/);
    await expect(fail({ type: 'audio', source: { path: media('picture.png') } })).rejects.toThrow(/data\.jsonl:7: .*no audio stream/);
    const silent: ContentPart = { type: 'video', source: { path: media('picture.png') }, use_audio_in_video: true };
    await expect(fail(silent)).rejects.toThrow(/data\.jsonl:7: /);
  });

  it('refuses text that spells a placeholder', async () => {
    const said = record({ type: 'text', text: 'Say <|audio_pad|>.' });
    await expect(loadProcessor(model.path).process(said)).rejects.toThrow('text contains the media placeholder <|audio_pad|>');
  });

  it('refuses a feature extractor that does not fit the encoder', () => {
    const file = join(model.path, 'preprocessor_config.json');
    const before = readFileSync(file, 'utf8');
    const change = (fields: object): void => {
      writeFileSync(file, JSON.stringify({ ...(JSON.parse(before) as object), ...fields }));
    };
    try {
      change({ feature_size: 64 });
      expect(() => loadProcessor(model.path)).toThrow(/preprocessor_config\.json: feature_size: expected \d+ as config\.json's num_mel_bins, received 64/);
      change({ hop_length: 200 });
      expect(() => loadProcessor(model.path)).toThrow('hop_length: only 160 is supported');
    } finally {
      writeFileSync(file, before);
    }
  });
});
