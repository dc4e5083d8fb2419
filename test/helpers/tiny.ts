import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The embedded target. */
export const tinyModel = fileURLToPath(new URL('../../models/tiny-qwen2.5-vl', import.meta.url));

/** Temporary directory that is removed by the returned function. */
export function temporary(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'eyas-'));
  return {
    dir,
    remove: () => {
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

interface Line {
  id: string;
  messages: { role: string; content: string | { type: string; image?: string; video?: string }[] }[];
}

const mediaOf = (line: Line): string[] =>
  line.messages.flatMap(({ content }) =>
    typeof content === 'string' ? [] : content.flatMap((part) => part.image ?? part.video ?? []),
  );

/**
 * Copies records of the embedded conversations, media included, into a directory: `count` of each of the kinds.
 * @returns the data file
 */
export function copyConversations(
  dir: string,
  source: 'train' | 'heldout',
  count: { text?: number; image?: number; video?: number },
): string {
  const from = join(tinyModel, 'conversations');
  const lines = readFileSync(join(from, `${source}.jsonl`), 'utf8')
    .split('\n')
    .filter(Boolean);
  const left = { text: 0, image: 0, video: 0, ...count };
  const chosen = lines.filter((text) => {
    const media = mediaOf(JSON.parse(text) as Line);
    const kind = media.some((file) => file.endsWith('.mp4')) ? 'video' : media.length > 0 ? 'image' : 'text';
    return left[kind]-- > 0;
  });
  for (const file of chosen.flatMap((text) => mediaOf(JSON.parse(text) as Line))) {
    mkdirSync(dirname(join(dir, file)), { recursive: true });
    copyFileSync(join(from, file), join(dir, file));
  }
  const file = join(dir, `${source}.jsonl`);
  writeFileSync(file, chosen.map((text) => `${text}\n`).join(''));
  return file;
}
