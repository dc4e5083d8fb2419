import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusePlaceholders } from '../../lib/data/conversation.js';
import type { EmbeddedMedia } from '../../lib/data/media-source.js';
import { RecordError } from '../../lib/data/record-error.js';
import { parseRecord, readRecords, type ReadOptions } from '../../lib/data/records.js';

const user = (content: unknown) => ({ role: 'user', content });
const answer = { role: 'assistant', content: 'Yes.' };
const record = (fields: object = {}) => ({ messages: [user('Is it?'), answer], ...fields });
const withPart = (part: object) => record({ messages: [user([part]), answer] });

let root: string;
let data: string;
let outside: string;
let counter = 0;

beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'eyas-records-')));
  data = join(root, 'data');
  outside = join(root, 'outside');
  mkdirSync(join(data, 'images'), { recursive: true });
  mkdirSync(outside);
  for (const file of [join(data, 'images/a.png'), join(data, 'b.mp4'), join(outside, 'c.png')])
    writeFileSync(file, 'x');
  symlinkSync(join(outside, 'c.png'), join(data, 'link.png'));
});

afterAll(() => {
  rmSync(root, { recursive: true });
});

/** Writes lines (objects as JSON) to a new file in the data directory. */
function dataFile(...lines: unknown[]): string {
  const file = join(data, `${counter++}.jsonl`);
  writeFileSync(
    file,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  );
  return file;
}

async function read(lines: unknown[], options: ReadOptions = {}) {
  return (await readRecords([dataFile(...lines)], options)).records;
}

/** The reason why a single record is bad. */
async function reason(line: unknown, options: ReadOptions = {}): Promise<string> {
  const file = dataFile(line);
  const { bad } = await readRecords([file], { ...options, onBadRecord: 'skip' });
  expect(bad).toHaveLength(1);
  expect(bad[0]!.where).toBe(`${file}:1`);
  return bad[0]!.reason;
}

describe('lines', () => {
  it('are read with byte order mark, CRLF, blank lines and no last line end', async () => {
    const file = join(data, 'lines.jsonl');
    const line = JSON.stringify(record());
    writeFileSync(file, `\uFEFF${line}\r\n\r\n   \n${line}\n${line}`);
    const { records, read: count } = await readRecords([file]);
    expect(count).toBe(3);
    expect(records.map(({ id, where }) => [id, where])).toEqual([
      ['line-1', `${file}:1`],
      ['line-4', `${file}:4`],
      ['line-5', `${file}:5`],
    ]);
  });

  it('are read across the chunks of a stream', async () => {
    const texts = Array.from({ length: 40 }, (_, i) => `${'é'.repeat(i * 500)}${i}`);
    const records = await read(texts.map((text) => record({ messages: [user(text), answer] })));
    expect(records.map(({ messages }) => messages[0]!.content)).toEqual(texts);
  });

  it('that are no JSON are reported with the column', async () => {
    expect(await reason('{"messages": [}')).toBe('invalid JSON at column 15: expected a value, received "}"');
    expect(await reason('{"a": 1} x')).toBe(
      'invalid JSON at column 10: expected the end of the text, received "x"',
    );
    expect(await reason('[1]')).toBe('expected a JSON object, received an array');
  });

  it('that are no UTF-8 are reported with the byte', async () => {
    const file = join(data, 'utf8.jsonl');
    const good = Buffer.from(`${JSON.stringify(record())}\n`);
    for (const [bytes, at] of [
      [[0x22, 0xc3, 0x28, 0x22], 2],
      [[0x22, 0x61, 0xff, 0x22], 2],
      [[0x22, 0xe2, 0x82], 3],
    ] as const) {
      writeFileSync(file, Buffer.concat([good, Buffer.from(bytes)]));
      const { bad, records } = await readRecords([file], { onBadRecord: 'skip' });
      expect(records).toHaveLength(1);
      expect(bad).toEqual([
        { where: `${file}:2`, reason: `invalid UTF-8 at byte ${good.length + at} of the file` },
      ]);
    }
  });
});

describe('policy', () => {
  it('fails with a list of the bad records, or skips and counts them', async () => {
    const file = dataFile('{', record(), record({ messages: [] }));
    await expect(readRecords([file])).rejects.toThrow(
      `2 bad records:\n  ${file}:1: invalid JSON at column 2: expected a key, received the end of the text\n  ${file}:3: `,
    );
    const { records, read: count, bad } = await readRecords([file], { onBadRecord: 'skip' });
    expect([records.length, count, bad.length]).toEqual([1, 3, 2]);
  });

  it('stops at the tenth', async () => {
    const file = dataFile(...Array.from({ length: 30 }, () => '{'));
    await expect(readRecords([file])).rejects.toThrow(/^At least 10 bad records:(\n.*){10}$/);
  });

  it('says which file cannot be read', async () => {
    await expect(readRecords([join(data, 'absent.jsonl')], { onBadRecord: 'skip' })).rejects.toThrow(
      'absent.jsonl',
    );
  });
});

describe('ids', () => {
  it('are the record’s, or its line, with the file where there are several', async () => {
    const files = [dataFile(record({ id: 'a.b-c_1' }), record({ id: 7 })), dataFile(record())];
    const { records } = await readRecords(files);
    expect(records.map(({ id }) => id)).toEqual(['a.b-c_1', '7', `${counter - 1}-line-1`]);
  });

  it('must name a file', async () => {
    for (const id of ['a/b', '..', '.hidden', '', 'a\0', 'x'.repeat(201), 1.5, {}]) {
      expect(await reason(record({ id }))).toMatch(/^id: expected letters, digits/);
    }
  });

  it('must differ', async () => {
    const file = dataFile(record({ id: 'x' }), record(), record({ id: 'x' }));
    await expect(readRecords([file])).rejects.toThrow(`${file}:3: duplicate id "x", first at ${file}:1`);
  });
});

describe('OpenAI form', () => {
  it('reads parts, and fields of messages and videos', async () => {
    const [result] = await read([
      record({
        tools: [{ type: 'function' }],
        messages: [
          { role: 'system', content: 'Be brief.', name: 'x' },
          user([
            { type: 'image', image: 'images/a.png', text: null },
            { type: 'image_url', image_url: { url: './images/a.png' } },
            { type: 'image_url', image_url: 'data:image/png;base64,AAEC' },
            { type: 'video', video: 'b.mp4', fps: 2, max_frames: 8 },
            { type: 'video_url', video_url: { url: 'b.mp4' } },
            { type: 'input_audio', input_audio: { data: 'AAEC', format: 'wav' } },
            { type: 'text', text: 'What?' },
          ]),
          answer,
        ],
      }),
    ]);
    const image = { type: 'image', source: { path: join(data, 'images/a.png') } };
    const video = { type: 'video', source: { path: join(data, 'b.mp4') } };
    const bytes = Buffer.from([0, 1, 2]);
    expect(result!.tools).toEqual([{ type: 'function' }]);
    expect(result!.messages).toEqual([
      { role: 'system', content: 'Be brief.', name: 'x' },
      user([
        image,
        image,
        { type: 'image', source: { bytes, mime: 'image/png' } },
        { ...video, fps: 2, max_frames: 8 },
        video,
        { type: 'audio', source: { bytes, mime: 'audio/wav' } },
        { type: 'text', text: 'What?' },
      ]),
      answer,
    ]);
  });

  it.each([
    [{}, 'expected either messages or conversations, received neither'],
    [{ messages: [], conversations: [] }, 'received messages and conversations'],
    [{ messages: {} }, 'messages: expected a list, received an object'],
    [{ messages: [3] }, 'messages[0]: expected an object, received 3'],
    [{ messages: [{ content: 'x' }] }, 'messages[0].role: expected a string, received nothing'],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content: expected a list, received nothing'],
    [{ messages: [user([{ type: 'text' }]), answer] }, 'messages[0].content[0].text: expected a string'],
    [{ messages: [user([{ type: 'table' }])] }, 'unknown type "table" of a content part'],
    [
      { messages: [user([{ type: 'text', text: 'a', size: 1 }])] },
      'messages[0].content[0]: unknown field "size"',
    ],
    [
      { messages: [user([{ type: 'image', image: 'images/a.png', min_pixels: 1 }])] },
      'unknown field "min_pixels"',
    ],
    [{ messages: [user([{ type: 'image' }])] }, 'expected one of image, image_url, received none'],
    [
      { messages: [user([{ type: 'video', video: 'b.mp4', fps: '2' }])] },
      'content[0].fps: expected a number',
    ],
    [
      { messages: [user([{ type: 'video', video: ['f0.png'] }])] },
      'video: expected a string, received an array',
    ],
    [record({ tools: 'x' }), 'tools: invalid JSON at column 1: expected a value, received "x"'],
    [
      { messages: [answer] },
      'message 0: expected role system or developer or user at the start, received assistant',
    ],
    [{ messages: [user('a'), user('b')] }, 'message 1: expected role assistant after user, received user'],
    [{ messages: [user('a'), { role: 'bot', content: '' }] }, 'message 1: unknown role "bot"'],
    [{ messages: [user('a'), { role: 'assistant', content: '' }] }, 'message 1: the assistant says nothing'],
    [
      { messages: [user('a'), { role: 'assistant', content: [{ type: 'image', image: 'images/a.png' }] }] },
      "message 1: an assistant's turn cannot hold image parts",
    ],
    [{ messages: [] }, 'the conversation has no user turn'],
    [{ messages: [user('a')] }, 'the conversation has no assistant turn'],
  ])('refuses %j', async (line, message) => {
    expect(await reason(line)).toContain(message);
  });

  it('reads prompts without an answer where they are asked for', async () => {
    expect(await read([{ messages: [user('a')] }], { requireAnswer: false })).toHaveLength(1);
  });
});

describe('ShareGPT form', () => {
  const turns = (value: string, reply = 'Yes.') => [
    { from: 'human', value },
    { from: 'gpt', value: reply },
  ];
  const image = { type: 'image', source: { path: '' } };

  it('puts the columns where the marks are', async () => {
    image.source.path = join(data, 'images/a.png');
    const [one, two] = await read([
      { conversations: turns('<image>\nWhat?'), image: 'images/a.png', system: 'Be brief.' },
      {
        conversations: [...turns('Look: <image><image> and <video>.'), ...turns('No mark')],
        images: ['images/a.png', 'images/a.png'],
        videos: ['b.mp4'],
      },
    ]);
    expect(one!.messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      user([image, { type: 'text', text: '\nWhat?' }]),
      answer,
    ]);
    expect(two!.messages).toEqual([
      user([
        { type: 'text', text: 'Look: ' },
        image,
        image,
        { type: 'text', text: ' and ' },
        { type: 'video', source: { path: join(data, 'b.mp4') } },
        { type: 'text', text: '.' },
      ]),
      answer,
      user('No mark'),
      answer,
    ]);
  });

  it.each([
    [{ conversations: turns('<image>') }, 'images: expected as many as <image> marks (1), received 0'],
    [
      { conversations: turns('x'), image: 'images/a.png' },
      'image: expected as many as <image> marks (0), received 1',
    ],
    [
      { conversations: turns('<video>'), videos: [] },
      'videos: expected as many as <video> marks (1), received 0',
    ],
    [
      { conversations: turns('<image>'), image: 'a', images: ['a'] },
      'image and images: expected only one of them',
    ],
    [{ conversations: turns('<image>'), images: [3] }, 'images[0]: expected a string, received 3'],
    [{ conversations: turns('<image>'), images: ['no.png'] }, 'images[0]: there is no file "no.png"'],
    [{ conversations: [{ from: 'bing', value: 'x' }] }, 'conversations[0].from: unknown role "bing"'],
    [
      { conversations: [{ from: 'gpt', value: null }] },
      'conversations[0].value: expected a string, received null',
    ],
    [
      { conversations: turns('x', '<image>'), images: ['images/a.png'] },
      "an assistant's turn cannot hold image parts",
    ],
  ])('refuses %j', async (line, message) => {
    expect(await reason(line)).toContain(message);
  });
});

describe('media references', () => {
  const image = (reference: string) => withPart({ type: 'image', image: reference });

  it('lead to files in the data directory, or under the media root', async () => {
    const absolute = join(outside, 'c.png');
    for (const reference of [absolute, '../outside/c.png', 'link.png', pathToFileURL(absolute).href]) {
      const [result] = await read([image(reference)], { mediaRoot: outside });
      expect(result!.messages[0]!.content).toEqual([{ type: 'image', source: { path: absolute } }]);
      expect(await reason(image(reference))).toMatch(
        /only files under the media root are read \(no media root is set\)$/,
      );
      expect(await reason(image(reference), { mediaRoot: join(data, 'images') })).toContain(
        'the media root is',
      );
    }
  });

  it.each([
    ['', 'expected a path, received ""'],
    ['a\0b', 'expected a path'],
    ['no.png', 'there is no file "no.png"'],
    ['images', '"images" is not a file'],
    ['s3://bucket/a.png', 'URLs of type s3: are not supported'],
    ['file://host/a.png', 'messages[0].content[0].image: '],
    ['https://example.com/a.png', 'remote URL "https://example.com/a.png" is refused'],
    ['data:image/png,abc', 'expected a data: URI in base64'],
    ['data:image/png;base64,a*b=', 'invalid base64'],
    ['data:image/png;base64,', 'invalid base64, or nothing'],
    ['data:text/html;base64,AAEC', 'expected image data, received text/html'],
  ])('refuse %j', async (reference, message) => {
    expect(await reason(image(reference))).toContain(message);
  });

  describe('that are remote', () => {
    let server: Server;
    let url: string;
    beforeAll(async () => {
      server = createServer((request, response) => {
        if (request.url === '/a.png') response.writeHead(200, { 'content-type': 'image/png' }).end('bytes');
        else if (request.url === '/page') response.writeHead(200, { 'content-type': 'text/html' }).end('x');
        else response.writeHead(404).end();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    afterAll(() => {
      server.close();
    });

    it('are fetched where that is allowed', async () => {
      const [result] = await read([image(`${url}/a.png`)], { allowRemote: true });
      const source = { bytes: Buffer.from('bytes'), mime: 'image/png' };
      expect(result!.messages[0]!.content).toEqual([{ type: 'image', source }]);
      expect(await reason(image(`${url}/b.png`), { allowRemote: true })).toContain(
        'answered with status 404',
      );
      expect(await reason(image(`${url}/page`), { allowRemote: true })).toContain(
        'expected image data, received text/html',
      );
    });
  });
});

describe('refusePlaceholders', () => {
  it('finds a media token spelt out in any text', async () => {
    for (const line of [
      record({ messages: [user('<|image_pad|>'), answer] }),
      record({ messages: [user([{ type: 'text', text: 'a<|image_pad|>b' }]), answer] }),
      record({ tools: [{ deep: { '<|image_pad|>': 1 } }] }),
    ]) {
      const [result] = await read([line]);
      expect(() => {
        refusePlaceholders(result!, ['<|video_pad|>', '<|image_pad|>']);
      }).toThrow(`${result!.where}: text contains the media placeholder <|image_pad|>`);
    }
    const [clean] = await read([withPart({ type: 'image', image: 'images/a.png' })]);
    expect(() => {
      refusePlaceholders(clean!, ['png']);
    }).not.toThrow();
  });
});

describe('parseRecord', () => {
  /** JSON that looks like a record, mostly. */
  const likeARecord = (() => {
    const value = fc.jsonValue({ maxDepth: 2 });
    const mostly = (usual: fc.Arbitrary<unknown>) =>
      fc.oneof({ arbitrary: usual, weight: 9 }, { arbitrary: value, weight: 1 });
    const reference = mostly(fc.constantFrom<unknown>('even', 'odd', { url: 'even' }, null));
    const part = fc.oneof(
      fc.record({ type: mostly(fc.constant('text')), text: mostly(fc.string()) }),
      fc.record({
        type: fc.constant('image'),
        image: reference,
        text: fc.constantFrom(null, undefined, 'x'),
      }),
      fc.record({
        type: fc.constant('video_url'),
        video_url: reference,
        fps: fc.constantFrom(undefined, 2, '2'),
      }),
      value,
    );
    const content = mostly(fc.oneof(fc.string(), fc.array(mostly(part), { maxLength: 3 })));
    const turn = (role: string, from: string) =>
      mostly(
        fc.record({
          role: mostly(fc.constant(role)),
          content,
          from: mostly(fc.constant(from)),
          value: mostly(fc.constantFrom('<image>', '<video>x', '<audio>', '', 'y')),
          tool_calls: fc.constantFrom<unknown>(undefined, null, [], [{ function: { name: 'f' } }]),
        }),
      );
    const turns = mostly(
      fc
        .array(fc.tuple(turn('user', 'human'), turn('assistant', 'gpt')), { minLength: 1, maxLength: 3 })
        .map((pairs) => pairs.flat(1)),
    );
    const others = {
      id: mostly(fc.oneof(fc.integer(), fc.string())),
      tools: mostly(fc.array(mostly(fc.record({ name: value })), { maxLength: 2 })),
    };
    const columns = {
      images: mostly(fc.array(reference, { maxLength: 2 })),
      video: mostly(reference),
      audios: mostly(fc.array(reference, { maxLength: 1 })),
    };
    return fc.oneof(
      fc.record({ messages: turns, ...others }, { requiredKeys: ['messages'] }),
      fc.record({ messages: turns, ...others, ...columns }, { requiredKeys: ['messages'] }),
      fc.record({ conversations: turns, ...others, ...columns }, { requiredKeys: ['conversations'] }),
    );
  })();

  it('takes any JSON: a record comes out, or a RecordError that begins with file and line', async () => {
    const media = (reference: string | EmbeddedMedia) =>
      typeof reference === 'string' && reference === 'even'
        ? Promise.resolve({ path: reference })
        : Promise.reject(new Error('no such file'));
    let good = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.jsonValue(), { arbitrary: likeARecord, weight: 9 }), async (value) => {
        try {
          const result = await parseRecord(value, { where: 'data.jsonl:7', media }, 'line-7');
          expect(result.messages.length).toBeGreaterThan(0);
          good++;
        } catch (error) {
          expect(error).toBeInstanceOf(RecordError);
          expect((error as Error).message).toMatch(/^data\.jsonl:7: ./);
        }
      }),
      { numRuns: 3000 },
    );
    expect(good).toBeGreaterThan(0);
  });

  it('takes JSON of any depth', async () => {
    expect(await reason(`{"messages": ${'['.repeat(300_000)}`)).toMatch(
      /^invalid JSON at column \d+: expected a value/,
    );
    expect(await reason(`{"messages": [${'['.repeat(300_000)}${']'.repeat(300_000)}]}`)).toMatch(
      /^messages\[0\]: expected an object/,
    );
  });

  it('reads any bytes: every line is a record or a bad one with its place', async () => {
    const file = join(data, 'fuzz.jsonl');
    const line = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.json().map((text) => Buffer.from(text)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 5 }), async (lines) => {
        writeFileSync(file, Buffer.concat(lines.flatMap((bytes) => [bytes, Buffer.from('\n')])));
        const { bad, records, read: count } = await readRecords([file], { onBadRecord: 'skip' });
        expect(bad.length + records.length).toBe(count);
        for (const { where } of bad) expect(where).toMatch(/fuzz\.jsonl:\d+$/);
      }),
      { numRuns: 200 },
    );
  });
});
