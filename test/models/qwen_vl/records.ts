import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { VisualFeature } from '../../../lib/models/qwen_vl/visual-feature.js';
import type { ContentPart, ConversationRecord, Message } from '../../../lib/models/target.js';

/** Messages as scripts/fixtures/<family>_processor.py writes them. */
export interface FixtureMessage {
  role: string;
  content: string | FixturePart[];
}

export interface FixturePart {
  type: 'text' | 'image' | 'video';
  text?: string;
  image?: string;
  video?: string;
  fps?: number;
}

/** What transformers makes of a medium. */
export interface FixtureMedium {
  kind: string;
  grid: number[];
  sha256: string;
  samples: [index: number, value: number][];
}

/** A part whose files lie in `images` and `clips`. */
export function part({ type, text, image, video, fps }: FixturePart, images: string, clips = images): ContentPart {
  if (type === 'text') return { type, text: text! };
  if (type === 'image') return { type, source: { path: join(images, image!) } };
  return { type, source: { path: join(clips, video!) }, fps };
}

export function record(messages: readonly FixtureMessage[], images: string, clips = images): ConversationRecord {
  const read = ({ role, content }: FixtureMessage): Message => ({
    role,
    content: typeof content === 'string' ? content : content.map((value) => part(value, images, clips)),
  });
  return { id: 'r', where: 'data.jsonl:3', messages: messages.map(read) };
}

export function expectMedium(feature: VisualFeature, wanted: FixtureMedium): void {
  expect(feature.kind).toBe(wanted.kind);
  expect(feature.grid).toEqual(wanted.grid);
  expect(feature.tokens).toBe(wanted.grid.reduce((a, b) => a * b) / 4);
  for (const [index, value] of wanted.samples) expect(feature.pixels[index]).toBe(Math.fround(value));
  const bytes = new Uint8Array(feature.pixels.buffer, feature.pixels.byteOffset, feature.pixels.byteLength);
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(wanted.sha256);
}
