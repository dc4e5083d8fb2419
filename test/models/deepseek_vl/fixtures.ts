import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors } from '../../../lib/hub/safetensors.js';
import type { ContentPart, ConversationRecord, Message } from '../../../lib/models/target.js';
import { cast, scope, toFloats } from '../../../lib/tensor.js';

/** Made by scripts/fixtures/deepseek_vl.py. */
export const fixtures = fileURLToPath(new URL('../../fixtures/deepseek_vl', import.meta.url));

/** Two in transformers' layout, two in DeepSeek's. */
export const checkpoints = ['plain', 'hybrid', 'original', 'original-hybrid'];
export const cases = ['text', 'pictures'];

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
  content: string | { type: string; text?: string; image?: string }[];
}

const conversations = JSON.parse(readFileSync(join(fixtures, 'cases.json'), 'utf8')) as Record<string, FixtureMessage[]>;

/** A conversation of the fixtures as `data/records` reads it. */
export function record(name: string): ConversationRecord {
  const messages = conversations[name]!.map(({ role, content }): Message => {
    if (typeof content === 'string') return { role, content };
    const parts = content.map(
      ({ type, text, image }): ContentPart =>
        type === 'text' ? { type, text: text! } : { type: 'image', source: { path: join(fixtures, image!) } },
    );
    return { role, content: parts };
  });
  return { id: name, where: 'data.jsonl:3', messages };
}

/** Expected values of a case, by name. */
export function expectedValues(checkpoint: string, name: string) {
  const file = openSafetensors(join(fixtures, checkpoint, 'expected.safetensors'));
  const floats = (key: string): Float32Array => scope(() => toFloats(cast(file.load(`${name}.${key}`), 'float32')));
  const optional = (key: string): Float32Array | undefined => (file.has(`${name}.${key}`) ? floats(key) : undefined);
  return {
    inputIds: scope(() => Array.from(file.load(`${name}.input_ids`).toTypedArray(), Number)),
    pixels: optional('pixels'),
    highResPixels: optional('high_res_pixels'),
    hiddenStates: floats('hidden_states'),
    lastHiddenStates: floats('last_hidden_states'),
    logits: floats('logits'),
  };
}
