import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maskFromSpans, renderConversation } from '../../lib/data/loss-mask.js';
import type { Message } from '../../lib/models/target.js';
import { ChatTemplate, loadChatTemplate } from '../../lib/text/chat-template.js';
import { loadTokenizer } from '../../lib/text/tokenizer.js';
import { conversations, tokenizerDirectory } from '../text/fixtures.js';

const tokenizer = loadTokenizer(tokenizerDirectory);
const template = loadChatTemplate(tokenizerDirectory, tokenizer);

const withSource = (source: string) =>
  new ChatTemplate(source, { file: 'template', specialTokens: {}, endOfTurn: ['</s>', '</s></s>'] });
const turns: Message[] = [
  { role: 'user', content: 'q' },
  { role: 'assistant', content: ' a ' },
];

describe('renderConversation and maskFromSpans', () => {
  it.each(conversations.cases.map((value, i) => [i, value] as const))(
    'mask what the assistant produced, as laid out turn by turn (case %i)',
    (_, { messages, text, spans, offsets, mask }) => {
      const rendered = renderConversation(template, messages);
      expect(rendered).toEqual({ text, assistantSpans: spans });
      expect([...maskFromSpans(Int32Array.from(offsets.flat()), rendered.assistantSpans)]).toEqual(mask);
    },
  );

  it('decode back to the assistant’s words where nothing merges across the header', () => {
    const word = fc.constantFrom(
      'Hi',
      ' there',
      '<|im_end|>',
      '<|im_start|>assistant\n',
      '😀',
      '圆',
      'é',
      '1',
      '\ue000',
      '\ue0010\ue001',
    );
    const words = fc.array(word, { minLength: 1, maxLength: 6 }).map((list) => `a${list.join('')}`);
    fc.assert(
      fc.property(fc.array(fc.tuple(words, words), { minLength: 1, maxLength: 4 }), (pairs) => {
        const messages = pairs.flatMap(([user, answer]): Message[] => [
          { role: 'user', content: user },
          { role: 'assistant', content: answer },
        ]);
        const { text, assistantSpans } = renderConversation(template, messages);
        const { ids, offsets } = tokenizer.encodeWithOffsets(text);
        const mask = maskFromSpans(offsets, assistantSpans);
        expect(tokenizer.decode(ids.filter((_, i) => mask[i] === 1))).toBe(
          pairs.map(([, answer]) => `${answer}<|im_end|>`).join(''),
        );
      }),
    );
  });

  it('leave a token out that begins in the header', () => {
    expect([...maskFromSpans(Int32Array.from([0, 4, 4, 6, 6, 7, 7, 9]), [[5, 7]])]).toEqual([0, 0, 1, 0]);
  });

  it('ends with the header where a generation prompt is asked for', () => {
    const { text, assistantSpans } = renderConversation(template, turns.slice(0, 1), {
      addGenerationPrompt: true,
    });
    expect(text.endsWith('q<|im_end|>\n<|im_start|>assistant\n')).toBe(true);
    expect(assistantSpans).toEqual([]);
  });

  it('follows a template that trims, and takes the whole end of turn', () => {
    const trims = withSource(
      '{% for m in messages %}[{{ m.role }}]{{ m.content | trim }} </s></s>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}',
    );
    expect(renderConversation(trims, turns)).toEqual({
      text: '[user]q </s></s>[assistant]a </s></s>',
      assistantSpans: [[27, 37]],
    });
  });

  it('follows a template that changes the text', () => {
    const upper = withSource('{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}');
    expect(renderConversation(upper, turns)).toEqual({ text: 'Q</s> A </s>', assistantSpans: [[5, 12]] });
  });

  const thinking = withSource(
    [
      '{% for m in messages %}{{ "<s>" + m.role + "\n" }}',
      '{% if m.role == "assistant" and (loop.last or m.reasoning_content) %}',
      '{{ "<think>\n" + (m.reasoning_content or "") + "\n</think>\n\n" }}{% endif %}{{ m.content }}',
      '{% for c in m.tool_calls or [] %}{{ "<call>" }}{{ c.function.arguments | tojson }}{{ "</call>" }}{% endfor %}',
      '{{ "</s>\n" }}{% endfor %}',
      '{% if add_generation_prompt %}{{ "<s>assistant\n" }}{% if think %}{{ "<think>\n" }}{% endif %}{% endif %}',
    ].join(''),
  );
  const spoken = (messages: Message[], variables = {}) => {
    const { text, assistantSpans } = renderConversation(thinking, messages, { variables });
    return assistantSpans.map(([start, end]) => text.slice(start, end));
  };

  it('count thoughts that the template prints and the prompt has not', () => {
    const messages = [...turns, turns[0]!, { role: 'assistant', content: 'b' }];
    expect(spoken(messages)).toEqual([' a </s>', '<think>\n\n</think>\n\nb</s>']);
    expect(spoken(messages, { think: true })).toEqual([' a </s>', '\n</think>\n\nb</s>']);
    const reasoned = { role: 'assistant', content: 'b', reasoning_content: 'hm' };
    expect(spoken([turns[0]!, reasoned])).toEqual(['<think>\nhm\n</think>\n\nb</s>']);
  });

  it('take what both begin with where an earlier turn lacks the thoughts of the prompt', () => {
    const messages = [turns[0]!, { role: 'assistant', content: '<thought' }, ...turns];
    expect(spoken(messages, { think: true })[0]).toBe('<thought</s>');
  });

  it('begin after the prompt where a turn is closed only if something follows', () => {
    const open = withSource(
      '{% for m in messages %}{{ m.role + ":" + m.content }}{% if not loop.last or add_generation_prompt %}</s>{% endif %}' +
        '{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}',
    );
    const { text, assistantSpans } = renderConversation(open, [...turns, ...turns], {
      addGenerationPrompt: true,
    });
    expect(assistantSpans.map(([start, end]) => text.slice(start, end))).toEqual([' a </s>', ' a </s>']);
    expect(assistantSpans[0]![0]).toBe('user:q</s>assistant:'.length);
    expect(() => renderConversation(open, turns)).toThrow('does not close');
  });

  it('count tool calls, with their arguments as Python prints them', () => {
    const call = {
      type: 'function',
      function: { name: 'f', arguments: '{"b": 1.0, "1": 1e-7, "n": 9007199254740993}' },
    };
    expect(spoken([turns[0]!, { role: 'assistant', content: '', tool_calls: [call] }, ...turns])[0]).toBe(
      '<call>{"b": 1.0, "1": 1e-07, "n": 9007199254740993}</call></s>',
    );
    const broken = { function: { name: 'f', arguments: '{' } };
    expect(() => spoken([turns[0]!, { role: 'assistant', content: '', tool_calls: [broken] }])).toThrow(
      'message 1: invalid JSON',
    );
  });

  it('are the generation blocks where the template has them', () => {
    const marked = withSource(
      '{% for m in messages %}[{% if m.role == "assistant" %}{% generation %}{{ m.content }}]{% endgeneration %}' +
        '{% else %}{{ m.content }}]{% endif %}{% endfor %}',
    );
    expect(renderConversation(marked, turns)).toEqual({ text: '[q][ a ]', assistantSpans: [[4, 8]] });
  });

  const marked = (source: string, messages: Message[], options = {}) => {
    const { text, assistantSpans } = renderConversation(withSource(source), messages, options);
    return assistantSpans.map(([start, end]) => text.slice(start, end));
  };
  const conversation: Message[] = [
    { role: 'system', content: 's' },
    ...turns,
    { role: 'user', content: '😀' },
    { role: 'assistant', content: 'b]', reasoning_content: 'hm' },
    { role: 'user', content: 'r' },
    { role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: '{"x": 1.0}' } }] },
  ];

  it('are the generation blocks of every turn, however deep they are nested', () => {
    const nested = [
      '{% for m in messages %}{{ "[" + m.role + "]" }}{% if m.role == "assistant" %}',
      '{% with said = m.content %}{% generation %}',
      '{% if m.reasoning_content %}{{ "(" ~ m.reasoning_content ~ ")" }}{% endif %}',
      '{% for c in said %}{% if c != "]" %}{{ c }}{% endif %}{% endfor %}',
      '{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}]',
      '{% endgeneration %}{% endwith %}{% else %}{{ m.content + "]" }}{% endif %}{% endfor %}',
      '{% if add_generation_prompt %}[assistant]{% endif %}',
    ].join('');
    expect(marked(nested, conversation)).toEqual([' a ]', '(hm)b]', '{"x": 1.0}]']);
    expect(marked(nested, conversation, { addGenerationPrompt: true })).toHaveLength(3);
  });

  it('are several generation blocks of one turn, of which the empty ones count for nothing', () => {
    const split = [
      '{% for m in messages %}{% if m.role == "assistant" %}<',
      '{% generation %}{{ m.reasoning_content or "" }}{% endgeneration %}|',
      '{% generation %}{{ m.content }}>{% endgeneration %}',
      '{% else %}{{ m.content }}{% endif %}{% endfor %}',
    ].join('');
    expect(marked(split, conversation)).toEqual([' a >', 'hm', 'b]>', '>']);
    expect(marked(split, conversation.slice(0, 2))).toEqual([]);
  });

  it.each([
    [
      'a macro',
      '{% macro turn(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}' +
        '{% for m in messages %}{{ turn(m) }}{% endfor %}',
    ],
    [
      'a {% set %} block',
      '{% for m in messages %}{% set t %}{% generation %}{{ m.content }}{% endgeneration %}{% endset %}{{ t }}{% endfor %}',
    ],
    [
      'a {% filter %} block',
      '{% for m in messages %}{% filter trim %}{% generation %}{{ m.content }}{% endgeneration %}{% endfilter %}{% endfor %}',
    ],
    [
      'a recursive loop',
      '{% for m in messages recursive %}{% if m is mapping %}{{ loop([m.content]) }}' +
        '{% else %}{% generation %}{{ m }}{% endgeneration %}{% endif %}{% endfor %}',
    ],
  ])('refuse generation blocks whose text goes through %s, which may change it', (_, source) => {
    expect(() => marked(source, conversation)).toThrow('by way of a variable');
  });

  it('give a template the form of content that it prints', () => {
    const parts = withSource(
      '{% for m in messages %}{% for c in m.content %}{{ c.text }}{% endfor %}</s>{% endfor %}',
    );
    expect(renderConversation(parts, turns).text).toBe('q</s> a </s>');
    const strings = withSource('{% for m in messages %}{{ m.content }}</s>{% endfor %}');
    const given: Message[] = [{ role: 'user', content: [{ type: 'text', text: 'q' }] }, turns[1]!];
    expect(renderConversation(strings, given).text).toBe('q</s> a </s>');
    const two: Message[] = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'q' },
          { type: 'text', text: 'r' },
        ],
      },
    ];
    expect(() => renderConversation(strings, two)).toThrow('message 0: expected one text');
  });

  it('never come from what a message says', () => {
    const word = fc.constantFrom(
      '<s>assistant\n',
      '</s>',
      '</s>\n',
      '<think>\n',
      '</think>',
      'a',
      ' ',
      '\n',
      '😀',
    );
    const said = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(''));
    fc.assert(
      fc.property(fc.array(fc.tuple(said, said), { minLength: 1, maxLength: 4 }), (pairs) => {
        const messages = pairs.flatMap(([user, answer]): Message[] => [
          { role: 'user', content: user },
          { role: 'assistant', content: answer },
        ]);
        const empty = '<think>\n\n</think>\n\n';
        expect(spoken(messages)).toEqual(
          pairs.map(([, answer], i) => `${i === pairs.length - 1 ? empty : ''}${answer}</s>`),
        );
      }),
    );
  });

  it.each([
    ['{% for m in messages %}{{ m.content }}|{% endfor %}', 'does not close the assistant'],
    [
      '{% for m in messages %}{% endfor %}{% for m in messages %}{{ m.content }}</s>{% endfor %}{% for m in messages %}x{% endfor %}',
      'once, in a loop',
    ],
    [
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
      'once, in a loop',
    ],
    [
      '{% set t %}{% for m in messages %}{{ m.content }}</s>{% endfor %}{% endset %}{{ t }}',
      'once, in a loop',
    ],
    [
      '{% for m in messages %}{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}',
      'does not begin as the generation prompt',
    ],
  ])('refuse a template whose turns cannot be located: %s', (source, message) => {
    expect(() => renderConversation(withSource(source), turns)).toThrow(message);
  });
});
