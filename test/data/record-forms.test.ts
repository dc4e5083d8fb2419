import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refusePlaceholders } from '../../lib/data/conversation.js';
import { renderConversation } from '../../lib/data/loss-mask.js';
import { readRecords } from '../../lib/data/records.js';
import { ChatTemplate } from '../../lib/text/chat-template.js';

const png = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const wav = Buffer.from('RIFF\0\0\0\0WAVEfmt ', 'latin1');
const mp4 = Buffer.from('\0\0\0\x18ftypisom', 'latin1');
const answer = { role: 'assistant', content: 'Yes.' };
const user = (content: unknown) => ({ role: 'user', content });
const call = { name: 'f', arguments: { x: 1 } };

let directory: string;
beforeAll(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'eyas-forms-')));
  for (const [name, bytes] of Object.entries({ 'a.png': png, 'b.png': png, 'v.mp4': mp4, 's.wav': wav }))
    writeFileSync(join(directory, name), bytes);
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});

async function readText(text: string, name = 'data.jsonl') {
  writeFileSync(join(directory, name), text);
  return readRecords([join(directory, name)], { onBadRecord: 'skip' });
}

/** The messages of a record, media as `kind:file`. */
async function messages(record: object) {
  const { records, bad } = await readText(JSON.stringify(record));
  expect(bad).toEqual([]);
  return records[0]!.messages.map((message) => ({
    ...message,
    content:
      typeof message.content === 'string'
        ? message.content
        : message.content.map((part) =>
            part.type === 'text'
              ? part.text
              : `${part.type}:${'path' in part.source ? part.source.path.slice(directory.length + 1) : 'bytes'}`,
          ),
  }));
}

async function reason(record: object): Promise<string> {
  const { bad } = await readText(JSON.stringify(record));
  expect(bad).toHaveLength(1);
  return bad[0]!.reason;
}

const turns = (value: string) => [
  { from: 'human', value },
  { from: 'gpt', value: 'Yes.' },
];

describe('media of a record', () => {
  it('of all kinds are mixed in ShareGPT form, LLaVA’s included', async () => {
    expect(
      await messages({
        id: '000000033471',
        image: ['a.png', 'b.png'],
        video: 'v.mp4',
        audios: ['s.wav'],
        conversations: turns('<image>\n<audio>Hear <video>and see <image>'),
      }),
    ).toEqual([
      user(['image:a.png', '\n', 'audio:s.wav', 'Hear ', 'video:v.mp4', 'and see ', 'image:b.png']),
      answer,
    ]);
  });

  it('lie in columns of OpenAI’s form, for marks in strings and parts without a reference', async () => {
    expect(await messages({ images: ['a.png'], messages: [user('<image>\nWhat?'), answer] })).toEqual([
      user(['image:a.png', '\nWhat?']),
      answer,
    ]);
    const parts = [
      { type: 'image', index: 0, text: null },
      { type: 'text', text: '<image>', index: null },
      { type: 'image', index: 1 },
    ];
    expect(await messages({ images: ['a.png', 'b.png'], messages: [user(parts), answer] })).toEqual([
      user(['image:a.png', '<image>', 'image:b.png']),
      answer,
    ]);
    const other = [{ ...parts[0], index: 1 }, parts[1], { ...parts[2], index: 0 }];
    expect(await reason({ images: ['a.png', 'b.png'], messages: [user(other), answer] })).toBe(
      'images: expected entry 0 next, received index 1',
    );
  });

  it('are no matter of marks in OpenAI’s form without columns, nor in its answers', async () => {
    const html = { role: 'assistant', content: 'With <video>.' };
    expect(await messages({ messages: [user('How do I use <video>?'), html] })).toEqual([
      user('How do I use <video>?'),
      html,
    ]);
    expect(await messages({ images: [], messages: [user('How?'), html] })).toEqual([user('How?'), html]);
  });

  it('may carry OpenAI’s detail', async () => {
    const part = { type: 'image_url', image_url: { url: 'a.png', detail: 'high' } };
    for (const content of [[part], [{ ...part, detail: 'low' }]]) {
      expect(await messages({ messages: [user(content), answer] })).toEqual([user(['image:a.png']), answer]);
    }
  });

  it.each([
    [
      { images: ['a.png'], messages: [user('x'), answer] },
      'images: expected as many as <image> marks (0), received 1',
    ],
    [
      { images: ['a.png'], messages: [user('<image><image>'), answer] },
      'images: expected as many as <image> marks (2), received 1',
    ],
    [
      { audio: 's.wav', conversations: turns('x') },
      'audio: expected as many as <audio> marks (0), received 1',
    ],
    [{ conversations: turns('<audio>') }, 'audios: expected as many as <audio> marks (1), received 0'],
    [
      { image: 'a.png', conversations: turns('<image> <image_2>') },
      'conversations[0].value: unknown media mark <image_2>',
    ],
    [
      { image: 'a.png', conversations: turns('<ImageHere>') },
      'conversations[0].value: unknown media mark <ImageHere>',
    ],
    [
      { image: 'a.png', messages: [user('<Image>'), answer] },
      'messages[0].content: unknown media mark <Image>',
    ],
    [
      { audio: 'a.png', conversations: turns('<audio>') },
      'audio[0]: expected audio data, received image/png',
    ],
    [
      { image: 's.wav', conversations: turns('<image>') },
      'image[0]: expected image data, received audio/wav',
    ],
    [
      { image: 'v.mp4', conversations: turns('<image>') },
      'image[0]: expected image data, received video/mp4',
    ],
    [
      { video: 's.wav', conversations: turns('<video>') },
      'video[0]: expected video data, received audio/wav',
    ],
    [
      { audio: 'data:video/mp4;base64,AAEC', conversations: turns('<audio>') },
      'audio[0]: expected audio data, received video/mp4',
    ],
    [
      { audio: `data:;base64,${png.toString('base64')}`, conversations: turns('<audio>') },
      'audio[0]: expected audio data, received image/png',
    ],
    [{ audios: ['no.wav'], conversations: turns('<audio>') }, 'audios[0]: there is no file "no.wav"'],
  ])('refuses %j', async (record, message) => {
    expect(await reason(record)).toContain(message);
  });

  it.each(['wav', 'x-wav', 'mpeg', 'mp3', 'flac', 'ogg', 'mp4', 'x-m4a', 'webm'])(
    'may be audio/%s',
    async (type) => {
      const audio = `data:audio/${type};base64,AAEC`;
      expect(await messages({ audio, conversations: turns('<audio>') })).toEqual([
        user(['audio:bytes']),
        answer,
      ]);
    },
  );

  it('may be application/ogg where they are sounds or clips', async () => {
    const ogg = 'data:application/ogg;base64,AAEC';
    expect(await messages({ audio: ogg, video: ogg, conversations: turns('<audio><video>') })).toEqual([
      user(['audio:bytes', 'video:bytes']),
      answer,
    ]);
    expect(await reason({ image: ogg, conversations: turns('<image>') })).toContain(
      'received application/ogg',
    );
  });
});

describe('tools', () => {
  const tool = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } };
  const toolCall = { type: 'function', function: call };

  it('of LLaMA-Factory become OpenAI’s', async () => {
    const record = {
      tools: JSON.stringify([tool.function]),
      conversations: [
        { from: 'human', value: 'x?' },
        { from: 'function_call', value: JSON.stringify(call) },
        { from: 'observation', value: '1' },
        { from: 'gpt', value: 'Yes.' },
      ],
    };
    expect(await messages(record)).toEqual([
      user('x?'),
      { role: 'assistant', content: '', tool_calls: [toolCall] },
      { role: 'tool', content: '1' },
      answer,
    ]);
    expect((await readText(JSON.stringify(record))).records[0]!.tools).toEqual([tool]);
    expect((await readText(JSON.stringify({ ...record, tools: '' }))).records[0]).not.toHaveProperty('tools');
  });

  it('are called without a text, with arguments as an object or its JSON', async () => {
    for (const content of [{}, { content: null }, { content: '' }]) {
      for (const args of [call.arguments, JSON.stringify(call.arguments)]) {
        const calls = [{ id: 'c', type: 'function', function: { name: 'f', arguments: args } }];
        const record = {
          messages: [
            user('x?'),
            { role: 'assistant', ...content, tool_calls: calls },
            { role: 'tool', content: '1', tool_call_id: 'c' },
            { ...answer, tool_calls: null },
          ],
        };
        expect(await messages(record)).toEqual([
          user('x?'),
          { role: 'assistant', content: '', tool_calls: [{ id: 'c', ...toolCall }] },
          { role: 'tool', content: '1', tool_call_id: 'c' },
          answer,
        ]);
      }
    }
  });

  describe('with numbers and keys that JavaScript would change', () => {
    const json = '{"b": 1.0, "1": [1e3, 9007199254740993, -0.0, 1], "a": {"x": 2.50}}';
    const printed = '{"b": 1.0, "1": [1000.0, 9007199254740993, -0.0, 1], "a": {"x": 2.5}}';
    const bare = `{"name": "f", "parameters": ${json}}`;
    const template = new ChatTemplate(
      '{% for tool in tools %}{{ tool | tojson }} {% endfor %}{% for m in messages %}' +
        '{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}</s>{% endfor %}',
      { file: 'template', specialTokens: {}, endOfTurn: ['</s>'] },
    );
    const text = async (line: string, name?: string) => {
      const { records, bad } = await readText(line, name);
      expect(bad).toEqual([]);
      return renderConversation(template, records[0]!.messages, { tools: records[0]!.tools }).text;
    };
    const expected =
      `{"type": "function", "function": {"name": "f", "parameters": ${printed}}} ` +
      `{"type": "function", "n": ${printed}} </s>${printed}</s>`;
    const list = `[${bare}, {"type": "function", "n": ${json}}]`;
    const record = (tools: string, args: string) =>
      `{"tools": ${tools}, "messages": [{"role": "user", "content": "x?"}, {"role": "assistant", "content": "", ` +
      `"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": ${args}}}]}]}`;

    it.each([
      ['objects', record(list, json)],
      ['JSON in strings', record(JSON.stringify(list), JSON.stringify(json))],
      [
        'ShareGPT’s',
        `{"tools": ${JSON.stringify(list)}, "conversations": [{"from": "human", "value": "x?"}, ` +
          `{"from": "function_call", "value": ${JSON.stringify(`{"name": "f", "arguments": ${json}}`)}}]}`,
      ],
      [
        'ShareGPT’s lists',
        `{"tools": ${list}, "conversations": [{"from": "human", "value": "x?"}, ` +
          `{"from": "function_call", "value": ${JSON.stringify(`[{"name": "f", "arguments": ${JSON.stringify(json)}}]`)}}]}`,
      ],
    ])('are printed as Python prints them (%s)', async (_, line) => {
      expect(await text(line)).toBe(expected);
      expect(await text(`[${line}]`, 'data.json')).toBe(expected);
    });

    it('are searched for placeholders, and for tokens that end a turn', async () => {
      const { records } = await readText(record(`[{"n": 1.0, "deep": ["<|image|>"]}]`, json));
      expect(() => {
        refusePlaceholders(records[0]!, ['<|image|>']);
      }).toThrow('contains the media placeholder');
      const open = new ChatTemplate(
        '{% for m in messages %}{{ m.tool_calls[0].function.arguments.t }}{% endfor %}',
        {
          file: 'template',
          specialTokens: {},
          endOfTurn: ['</s>'],
        },
      );
      const { records: spelled } = await readText(record('[]', '{"n": 1.0, "t": "</s>"}'));
      expect(() => renderConversation(open, spelled[0]!.messages.slice(1))).toThrow('does not close');
    });
  });

  const calling = (...calls: unknown[]) => ({
    messages: [user('x?'), { role: 'assistant', content: null, tool_calls: calls }],
  });
  it.each([
    [calling({}), 'messages[1].tool_calls[0].function: expected an object, received nothing'],
    [calling({ type: 'custom' }), 'messages[1].tool_calls[0].type: expected "function", received "custom"'],
    [calling({ function: {} }), 'messages[1].tool_calls[0].function.name: expected a string'],
    [
      calling({ function: { name: 'f', arguments: '{"x"' } }),
      'messages[1].tool_calls[0].function.arguments: invalid JSON at column 5',
    ],
    [
      calling({ function: { name: 'f', arguments: '[1]' } }),
      'arguments: expected an object, received an array',
    ],
    [calling(), 'messages[1].content: expected a list, received nothing'],
    [
      { messages: [{ ...user('x'), tool_calls: [toolCall] }, answer] },
      "messages[0].tool_calls: expected them on an assistant's message, received user",
    ],
    [
      {
        conversations: [
          { from: 'human', value: 'x' },
          { from: 'function_call', value: 'f(1)' },
        ],
      },
      'conversations[1].value: invalid JSON at column 1',
    ],
    [
      {
        conversations: [
          { from: 'human', value: 'x' },
          { from: 'function_call', value: '[]' },
        ],
      },
      'conversations[1].value: expected at least one call',
    ],
    [{ tools: [3], messages: [user('x'), answer] }, 'tools[0]: expected an object, received 3'],
  ])('refuses %j', async (record, message) => {
    expect(await reason(record)).toContain(message);
  });
});

describe('data files', () => {
  const records = [0, 1, 2].map((i) => ({ messages: [user(`Is it [${i}], {"${i}"}\\?`), answer] }));

  it('that are JSON arrays are read element by element', async () => {
    for (const text of [JSON.stringify(records), `\uFEFF\n ${JSON.stringify(records, null, 2)}\n`]) {
      const result = await readText(text, 'list.json');
      expect(result.records.map(({ id, where, messages: [first] }) => [id, where, first])).toEqual(
        records.map(({ messages: [first] }, i) => [
          `item-${i + 1}`,
          `${join(directory, 'list.json')}:${i + 1}`,
          first,
        ]),
      );
    }
    expect((await readText(' [ ]\n', 'list.json')).read).toBe(0);
    expect((await readText(records.map((line) => JSON.stringify(line)).join('\n'), 'lines.json')).read).toBe(
      3,
    );
  });

  it('that are arrays keep their other elements where one is wrong', async () => {
    const [first, , last] = records.map((record) => JSON.stringify(record));
    const { records: good, bad } = await readText(`[${first},\n{"a":\n 1 2},${last}]`, 'list.json');
    expect(good.map(({ id }) => id)).toEqual(['item-1', 'item-3']);
    expect(bad.map((entry) => entry.reason)).toEqual([
      'invalid JSON at line 3, column 4 of the record: expected "," or "}", received "2"',
    ]);
    for (const [text, message] of [
      [`[${first}`, 'list.json: the array does not end (in record 1)'],
      [`[${first}] x`, 'list.json: expected the end of the file after the array, at byte'],
    ] as const) {
      await expect(readText(text, 'list.json')).rejects.toThrow(message);
    }
  });

  it('that are arrays hold what JSON.parse finds in them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.jsonValue(), { maxLength: 6 }),
        fc.constantFrom(0, 1, 3),
        async (list, indent) => {
          const { bad, read } = await readText(JSON.stringify(list, null, indent), 'list.json');
          expect(read).toBe(list.length);
          expect(bad.filter((entry) => entry.reason.includes('invalid JSON'))).toEqual([]);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('that are something else are refused', async () => {
    await expect(readText('x', 'data.csv')).rejects.toThrow(
      'data.csv: expected a data file named .jsonl, .json or .parquet, received .csv',
    );
    await expect(readText('x', 'data')).rejects.toThrow('received no ending');
  });
});
