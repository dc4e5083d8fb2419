import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors } from '../../../lib/hub/safetensors.js';
import type { ContentPart, ConversationRecord, Message } from '../../../lib/models/target.js';
import { cast, scope, toFloats } from '../../../lib/tensor.js';

/** Made by scripts/fixtures/internvl.py. */
export const fixtures = fileURLToPath(new URL('../../fixtures/internvl', import.meta.url));

/** Two in transformers' layout, two in OpenGVLab's. */
export const checkpoints = ['qwen2', 'qwen3_moe', 'original', 'internlm2'];
export const cases = ['text', 'pictures', 'clip'];

/** Frames that the fixtures take of a clip, by transformers' rule. */
export const clipOptions = { positionRule: 'transformers5', maxFrames: 6 } as const;

type Json = Record<string, unknown>;

/** Changes that are made to JSON files of a copy. */
export type Changes = Record<string, (json: Record<string, Json>) => void>;

/** A model directory: a checkpoint with the tokenizer, changed. */
export function modelDir(scratch: string, checkpoint: string, name = checkpoint, changes: Changes = {}): string {
  const dir = join(scratch, name);
  mkdirSync(dir);
  cpSync(join(fixtures, 'tokenizer'), dir, { recursive: true });
  cpSync(join(fixtures, checkpoint), dir, { recursive: true });
  for (const [file, change] of Object.entries(changes)) {
    const json = JSON.parse(readFileSync(join(dir, file), 'utf8')) as Record<string, Json>;
    change(json);
    writeFileSync(join(dir, file), JSON.stringify(json));
  }
  return dir;
}

interface FixtureMessage {
  role: string;
  content: string | { type: string; text?: string; image?: string; video?: string }[];
}

const conversations = JSON.parse(readFileSync(join(fixtures, 'cases.json'), 'utf8')) as Record<string, FixtureMessage[]>;

/** A conversation of the fixtures as `data/records` reads it. */
export function record(name: string): ConversationRecord {
  const messages = conversations[name]!.map(({ role, content }): Message => {
    if (typeof content === 'string') return { role, content };
    const parts = content.map(({ type, text, image, video }): ContentPart => {
      if (type === 'text') return { type, text: text! };
      const source = { path: join(fixtures, (image ?? video)!) };
      return image === undefined ? { type: 'video', source } : { type: 'image', source };
    });
    return { role, content: parts };
  });
  return { id: name, where: 'data.jsonl:3', messages };
}

/** Expected values of a case, by name. */
export function expectedValues(checkpoint: string, name: string) {
  const file = openSafetensors(join(fixtures, checkpoint, 'expected.safetensors'));
  const floats = (key: string): Float32Array => scope(() => toFloats(cast(file.load(`${name}.${key}`), 'float32')));
  return {
    inputIds: scope(() => Array.from(file.load(`${name}.input_ids`).toTypedArray(), Number)),
    pixels: file.has(`${name}.pixels`) ? floats('pixels') : new Float32Array(),
    hiddenStates: floats('hidden_states'),
    lastHiddenStates: floats('last_hidden_states'),
  };
}

/** Every fifth of the rows [T, H], of every boundary where there are several. */
export function everyFifthRow(states: Float32Array, rows: number, width: number): Float32Array {
  const boundaries = states.length / rows / width;
  const picked: number[] = [];
  for (let k = 0; k < boundaries; k++) {
    for (let row = 0; row < rows; row += 5) {
      const at = (k * rows + row) * width;
      picked.push(...states.subarray(at, at + width));
    }
  }
  return Float32Array.from(picked);
}
