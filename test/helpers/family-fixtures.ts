import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ContentPart, ConversationRecord, Message } from '../../lib/models/target.js';

type Json = Record<string, unknown>;

/** Changes that are made to JSON files of a copy. */
export type Changes = Record<string, (json: Record<string, Json>) => void>;

interface FixtureMessage {
  role: string;
  content: string | { type: string; text?: string; image?: string; video?: string }[];
}

/** Checkpoints of a family with one tokenizer, and conversations in cases.json whose media lie beside it. */
export class FamilyFixtures {
  readonly path: string;
  readonly #conversations: Record<string, FixtureMessage[]>;

  /** @param folder under test/fixtures */
  constructor(folder: string) {
    this.path = fileURLToPath(new URL(`../fixtures/${folder}`, import.meta.url));
    this.#conversations = JSON.parse(readFileSync(join(this.path, 'cases.json'), 'utf8')) as Record<
      string,
      FixtureMessage[]
    >;
  }

  /** A model directory: a checkpoint with the tokenizer, changed. */
  modelDir(scratch: string, checkpoint: string, name = checkpoint, changes: Changes = {}): string {
    const dir = join(scratch, name);
    mkdirSync(dir);
    cpSync(join(this.path, 'tokenizer'), dir, { recursive: true });
    cpSync(join(this.path, checkpoint), dir, { recursive: true });
    for (const [file, change] of Object.entries(changes)) {
      const json = JSON.parse(readFileSync(join(dir, file), 'utf8')) as Record<string, Json>;
      change(json);
      writeFileSync(join(dir, file), JSON.stringify(json));
    }
    return dir;
  }

  /** A conversation as `data/records` reads it. */
  record(name: string): ConversationRecord {
    const messages = this.#conversations[name]!.map(({ role, content }): Message => {
      if (typeof content === 'string') return { role, content };
      const parts = content.map(({ type, text, image, video }): ContentPart => {
        if (type === 'text') return { type, text: text! };
        const source = { path: join(this.path, (image ?? video)!) };
        return image === undefined ? { type: 'video', source } : { type: 'image', source };
      });
      return { role, content: parts };
    });
    return { id: name, where: 'data.jsonl:3', messages };
  }

  /** The conversations as a data file with its media, in an empty directory. */
  dataFile(scratch: string, names: readonly string[]): string {
    mkdirSync(scratch);
    cpSync(this.path, scratch, { recursive: true, filter: (path) => !path.endsWith('.safetensors') });
    const file = join(scratch, 'data.jsonl');
    const lines = names.map((id) => JSON.stringify({ id, messages: this.#conversations[id] }));
    writeFileSync(file, `${lines.join('\n')}\n`);
    return file;
  }
}
