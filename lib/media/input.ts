import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MediaSource } from '../models/target.js';
import { ffprobe, runTool } from './process.js';
import { atSource, openSource } from './source.js';

/** No network, whatever a playlist says. */
const localOnly = ['-protocol_whitelist', 'file,pipe'];

/** Options of ffmpeg that come before its input. */
export const inputFlags = ['-v', 'error', '-nostdin', ...localOnly];

/** Calls `body` with a path that ffmpeg can seek in: bytes go through a temporary file. */
export function withFile<T>(source: MediaSource, body: (file: string) => Promise<T>): Promise<T> {
  return atSource(source, async () => {
    const data = await openSource(source);
    if (typeof data === 'string') return body(`file:${data}`);
    const directory = await mkdtemp(join(tmpdir(), 'eyas-media-'));
    try {
      const file = join(directory, 'data');
      await writeFile(file, data);
      return await body(`file:${file}`);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
}

/**
 * First stream of a kind as ffprobe describes it, undefined where the file has none.
 *
 * @param stream ffprobe's stream specifier: `V:0`, `a:0`
 * @param fields names of its stream section
 */
export async function probeStream(
  file: string,
  stream: string,
  fields: string,
  flags: readonly string[] = [],
): Promise<Record<string, string | number> | undefined> {
  const chunks: Buffer[] = [];
  const args = ['-v', 'error', ...localOnly, '-select_streams', stream, ...flags];
  await runTool(ffprobe, [...args, '-show_entries', `stream=${fields}`, '-of', 'json', file], (chunk) =>
    chunks.push(chunk),
  );
  const output = JSON.parse(Buffer.concat(chunks).toString()) as {
    streams?: Record<string, string | number>[];
  };
  return output.streams?.[0];
}
