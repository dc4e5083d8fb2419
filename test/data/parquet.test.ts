import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readRecords } from '../../lib/data/records.js';
import { decodeImage } from '../../lib/media/image.js';
import { openSource } from '../../lib/media/source.js';
import type { ConversationRecord, MediaSource } from '../../lib/models/target.js';

/** `EYAS_PARQUET_FIXTURES` leads to others, made by the script with another seed. */
const fixtures =
  process.env['EYAS_PARQUET_FIXTURES'] ?? fileURLToPath(new URL('../fixtures/parquet', import.meta.url));
const names = ['sharegpt-snappy', 'openai-zstd', 'json-gzip', 'openai-plain'];
const fixture = (name: string) => join(fixtures, `${name}.parquet`);

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'eyas-parquet-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function sources(record: ConversationRecord): MediaSource[] {
  return record.messages.flatMap(({ content }) =>
    typeof content === 'string' ? [] : content.flatMap((part) => (part.type === 'text' ? [] : [part.source])),
  );
}

/** Records with the bytes of their media, without where they were read. */
async function contents(records: readonly ConversationRecord[]) {
  const bytes = (source: MediaSource) =>
    openSource(source).then((media) => ({
      base64: Buffer.from(media as Uint8Array).toString('base64'),
      mime: 'mime' in source ? source.mime : '',
    }));
  return Promise.all(
    records.map(async (record) => ({
      id: record.id.replace(/^(row|line)-/, ''),
      tools: record.tools,
      messages: JSON.stringify(record.messages, (key, value: unknown) =>
        key === 'source' ? undefined : value,
      ),
      media: await Promise.all(sources(record).map(bytes)),
    })),
  );
}

describe('parquet files', () => {
  it.each(names)('hold what the same JSONL holds: %s', async (name) => {
    const table = await readRecords([fixture(name)]);
    const lines = await readRecords([join(fixtures, `${name}.jsonl`)]);
    expect(table.read).toBe(lines.read);
    expect(await contents(table.records)).toEqual(await contents(lines.records));
    expect(table.records.map(({ where }) => where)).toEqual(
      table.records.map((_, i) => `${fixture(name)}:${i + 1}`),
    );
  });

  it('leave media where they are until they are needed', async () => {
    const { records } = await readRecords([fixture('openai-zstd'), fixture('sharegpt-snappy')]);
    const all = records.flatMap(sources);
    expect(all.length).toBeGreaterThan(10);
    for (const source of all) expect(source).not.toHaveProperty('bytes');
    // In any order, and from both files by turns.
    const images = all.filter((source) => 'mime' in source && source.mime === 'image/png');
    for (const image of [...images.slice(-3), ...images.slice(0, 3)]) {
      const { data, width, height } = await decodeImage(image);
      expect(data).toHaveLength(3 * width * height);
    }
  });

  it('that change under a record say so', async () => {
    const file = join(directory, 'changing.parquet');
    writeFileSync(file, readFileSync(fixture('openai-plain')));
    const { records } = await readRecords([file]);
    const source = records.flatMap(sources)[0]!;
    writeFileSync(file, 'PAR1');
    await expect(decodeImage(source)).rejects.toThrow(
      /changing\.parquet:\d+ \(image\/png\): .*rows 1 to 6 cannot be read/,
    );
  });

  it('that are no parquet files, or hold no conversations, are named', async () => {
    const file = join(directory, 'text.parquet');
    writeFileSync(file, '{"messages": []}\n');
    await expect(readRecords([file], { onBadRecord: 'skip' })).rejects.toThrow(/text\.parquet: .*parquet/);
    writeFileSync(file, '');
    await expect(readRecords([file], { onBadRecord: 'skip' })).rejects.toThrow(/text\.parquet: /);
    const bytes = readFileSync(fixture('openai-plain'));
    for (const [name, other] of [
      ['messages', 'massages'],
      ['images', 'imagos'],
    ] as const) {
      for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) bytes.write(other, at);
    }
    writeFileSync(file, bytes);
    await expect(readRecords([file])).rejects.toThrow(
      /text\.parquet: expected columns id, messages, .*, received massages, imagos$/,
    );
  });

  it('that are cut off anywhere are named', async () => {
    const file = join(directory, 'cut.parquet');
    const whole = readFileSync(fixture('openai-plain'));
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), async (length) => {
        writeFileSync(file, whole.subarray(0, length));
        await expect(readRecords([file], { onBadRecord: 'skip' })).rejects.toThrow(/cut\.parquet: /);
      }),
      { numRuns: 100 },
    );
  });

  it('with pages that cannot be read name the rows', async () => {
    const file = join(directory, 'page.parquet');
    const bytes = readFileSync(fixture('json-gzip'));
    // The first page's header and body.
    bytes.fill(0xff, 4, 400);
    writeFileSync(file, bytes);
    await expect(readRecords([file], { onBadRecord: 'skip' })).rejects.toThrow(
      /page\.parquet: rows 1 to 5 cannot be read: /,
    );
  });

  it('with a text that is no UTF-8 name the row', async () => {
    const file = join(directory, 'text.parquet');
    const bytes = readFileSync(fixture('openai-plain'));
    // Statistics hold some of the texts too.
    for (let at = bytes.indexOf('東京'); at >= 0; at = bytes.indexOf('東京', at)) bytes[at] = 0xff;
    writeFileSync(file, bytes);
    const { bad, read } = await readRecords([file], { onBadRecord: 'skip' });
    expect(read).toBe(6);
    expect(bad.length).toBeGreaterThan(0);
    for (const { where, reason } of bad) {
      expect(where).toMatch(/text\.parquet:\d$/);
      expect(reason).toMatch(/^messages\.\d\.content\.\d\.text: invalid UTF-8$/);
    }
  });
});
