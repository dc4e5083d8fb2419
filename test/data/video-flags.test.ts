import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readRecords } from '../../lib/data/records.js';
import { mediaParts } from '../../lib/models/processing.js';

const dir = mkdtempSync(join(tmpdir(), 'eyas-flags-'));
afterAll(() => {
  rmSync(dir, { recursive: true });
});
writeFileSync(join(dir, 'clip.mp4'), 'a clip');

async function read(part: object) {
  const messages = [
    { role: 'user', content: [part] },
    { role: 'assistant', content: 'A clip.' },
  ];
  const file = join(dir, 'data.jsonl');
  writeFileSync(file, JSON.stringify({ messages }));
  const { records } = await readRecords([file]);
  return mediaParts(records[0]!.messages)[0];
}

it.each([true, false])('a video part says whether its sound track is heard: %s', async (flag) => {
  expect(await read({ type: 'video', video: 'clip.mp4', use_audio_in_video: flag })).toMatchObject({
    type: 'video',
    use_audio_in_video: flag,
  });
});

it('refuses another value than true or false', async () => {
  await expect(read({ type: 'video', video: 'clip.mp4', use_audio_in_video: 1 })).rejects.toThrow(
    /use_audio_in_video: expected true or false, received/,
  );
});
