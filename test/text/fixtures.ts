import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Message } from '../../lib/models/target.js';

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

/** A small byte-level BPE with Qwen's special tokens and template. */
export const tokenizerDirectory = fixture('tokenizer');

/** A conversation as transformers renders and tokenises it; offsets in UTF-16 code units. */
export interface ConversationCase {
  messages: Message[];
  text: string;
  spans: [number, number][];
  ids: number[];
  offsets: [number, number][];
  mask: number[];
  decoded: string;
  plain: string;
}

/** Made by scripts/fixtures/text.py. */
export const conversations = JSON.parse(readFileSync(fixture('conversations.json'), 'utf8')) as {
  cases: ConversationCase[];
  generation_prompt: string;
  vision_ids: string;
};
