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

  it('follows a template that trims, and takes the longest end of turn', () => {
    const trims = withSource(
      '{% for m in messages %}[{{ m.role }}]{{ m.content | trim }} </s></s>{% endfor %}',
    );
    expect(renderConversation(trims, turns)).toEqual({
      text: '[user]q </s></s>[assistant]a </s></s>',
      assistantSpans: [[27, 37]],
    });
  });

  it.each([
    ['{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}', "changes the assistant's text"],
    ['{% for m in messages %}{{ m.content }}|{% endfor %}', 'does not close the assistant'],
    [
      '{% for m in messages %}{{ m.content ~ m.content }}</s>{% endfor %}',
      'once and in order (first at message 1)',
    ],
    [
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
      'once and in order',
    ],
    [
      "{% for m in messages %}{{ m.content }}{% if 'a' in m.content %}!{% endif %}</s>{% endfor %}",
      'changes the',
    ],
  ])('refuse a template whose turns cannot be located: %s', (source, message) => {
    expect(() => renderConversation(withSource(source), turns)).toThrow(message);
  });

  it('refuse tool calls of the assistant', () => {
    const calls = [turns[0]!, { role: 'assistant', content: 'x', tool_calls: [] }];
    expect(() => renderConversation(template, calls)).toThrow(
      'message 1: tool_calls of the assistant are not supported',
    );
  });
});
