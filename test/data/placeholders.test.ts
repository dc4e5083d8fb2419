import { describe, expect, it } from 'vitest';
import { maskFromSpans, renderConversation } from '../../lib/data/loss-mask.js';
import { expandPlaceholders } from '../../lib/data/placeholders.js';
import { loadChatTemplate } from '../../lib/text/chat-template.js';
import { loadTokenizer } from '../../lib/text/tokenizer.js';
import { conversations, tokenizerDirectory } from '../text/fixtures.js';

const IMAGE = '<|image_pad|>';
const VIDEO = '<|video_pad|>';

describe('expandPlaceholders', () => {
  it('replaces each placeholder in its turn and moves spans', () => {
    const text = `a${IMAGE}b${IMAGE}[cd]<s>${VIDEO}</s>[e]${IMAGE}`;
    const spans = ['[cd]', '[e]'].map((s): [number, number] => [text.indexOf(s), text.indexOf(s) + s.length]);
    const frames = `<0.2 seconds><s>${VIDEO}</s><1.0 seconds><s>${VIDEO}</s>`;
    const expanded = expandPlaceholders(text, spans, {
      [`<s>${VIDEO}</s>`]: [frames],
      [IMAGE]: [`<img>${IMAGE.repeat(3)}</img>`, IMAGE, ''],
    });
    expect(expanded.text).toBe(`a<img>${IMAGE.repeat(3)}</img>b${IMAGE}[cd]${frames}[e]`);
    expect(expanded.spans.map(([start, end]) => expanded.text.slice(start, end))).toEqual(['[cd]', '[e]']);
  });

  it('moves the ends of spans that touch a placeholder or hold one', () => {
    const text = `[${IMAGE}]${IMAGE}[]`;
    const spans: [number, number][] = [
      [0, IMAGE.length + 2],
      [2 * IMAGE.length + 2, text.length],
    ];
    const expanded = expandPlaceholders(text, spans, { [IMAGE]: ['12', '3'] });
    expect(expanded).toEqual({
      text: '[12]3[]',
      spans: [
        [0, 4],
        [5, 7],
      ],
    });
  });

  it('keeps the mask of a conversation with media', () => {
    const tokenizer = loadTokenizer(tokenizerDirectory);
    const { messages } = conversations.cases[13]!;
    const { text, assistantSpans } = renderConversation(
      loadChatTemplate(tokenizerDirectory, tokenizer),
      messages,
    );
    const expanded = expandPlaceholders(text, assistantSpans, {
      [IMAGE]: [IMAGE.repeat(4), IMAGE.repeat(5)],
      [VIDEO]: [VIDEO.repeat(7)],
    });
    const { ids, offsets } = tokenizer.encodeWithOffsets(expanded.text);
    expect(ids.filter((id) => id === tokenizer.tokenToId(IMAGE))).toHaveLength(9);
    const mask = maskFromSpans(offsets, expanded.spans);
    const answers = 'The same, but blue.<|im_end|>It moves.<|im_end|>';
    expect(tokenizer.decode(ids.filter((_, i) => mask[i] === 1))).toBe(answers);
  });

  it('refuses counts that do not fit the text, placeholders that overlap and spans that cut one', () => {
    expect(() => expandPlaceholders(IMAGE, [], { [IMAGE]: ['', ''] })).toThrow(
      `[expandPlaceholders] expected 2 ${IMAGE} in the text, received 1`,
    );
    expect(() => expandPlaceholders(IMAGE, [], { [IMAGE]: [] })).toThrow('expected 0');
    expect(() => expandPlaceholders('abc', [], { ab: ['x'], bc: ['y'] })).toThrow('received overlap at 1');
    expect(() => expandPlaceholders('abc', [[1, 3]], { ab: ['x'] })).toThrow(
      'received an end at 1 inside ab',
    );
  });
});
