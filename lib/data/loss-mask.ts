import type { ContentPart, Message } from '../models/target.js';
import type { ChatTemplate, RenderOptions } from '../text/chat-template.js';

/** `[start, end)` in UTF-16 code units of a text. */
export type Span = readonly [start: number, end: number];

export interface RenderedConversation {
  text: string;
  /** What each assistant turn produced, in order: its content and the token that ends the turn. */
  assistantSpans: Span[];
}

/** Content in the form that templates expect: media are named, not given. */
function templateContent(content: string | readonly ContentPart[], text: (text: string) => string): unknown {
  if (typeof content === 'string') return text(content);
  return content.map((part) =>
    part.type === 'text' ? { type: 'text', text: text(part.text) } : { type: part.type },
  );
}

/** A character of the private use area that occurs nowhere in a conversation. */
function unusedCharacter(messages: readonly Message[]): string {
  const text = JSON.stringify(messages, (key, value: unknown) => (key === 'source' ? undefined : value));
  for (let code = 0xe000; code <= 0xf8ff; code++) {
    const character = String.fromCharCode(code);
    if (!text.includes(character)) return character;
  }
  throw new Error('the conversation uses every private-use character');
}

/** Assistant texts of a conversation: one per text part. */
interface Slot {
  message: number;
  text: string;
}

/**
 * Renders with a mark in place of each text of the assistant: the literal text around the marks is what the template
 * adds, and cannot be confused with what a message says.
 */
function literalPieces(
  template: ChatTemplate,
  messages: readonly Message[],
  options: RenderOptions,
): { slots: Slot[]; pieces: string[] } {
  const mark = unusedCharacter(messages);
  const slots: Slot[] = [];
  const marked = messages.map((message, i) => {
    const place = (text: string) => (slots.push({ message: i, text }), `${mark}${slots.length - 1}${mark}`);
    const keep = (text: string) => text;
    return {
      ...message,
      content: templateContent(message.content, message.role === 'assistant' ? place : keep),
    };
  });
  const parts = template.render(marked, options).split(new RegExp(`${mark}(\\d+)${mark}`));
  const order = parts.filter((_, i) => i % 2 === 1).map(Number);
  const inOrder = order.length === slots.length && order.every((slot, i) => slot === i);
  if (!inOrder || parts.some((part, i) => i % 2 === 0 && part.includes(mark))) {
    const first = slots[order.findIndex((slot, i) => slot !== i)] ?? slots[order.length] ?? slots[0];
    throw new Error(
      `${template.file}: the chat template does not print each text of the assistant once and in order ` +
        `(first at message ${first?.message ?? 0})`,
    );
  }
  return { slots, pieces: parts.filter((_, i) => i % 2 === 0) };
}

/** The conversation's text if the template prints the assistant's texts after `change`; ranges of the texts in it. */
function assemble(pieces: readonly string[], slots: readonly Slot[], change: (text: string) => string) {
  let text = pieces[0]!;
  const ranges = slots.map((slot, i): Span => {
    const start = text.length;
    text += change(slot.text);
    const end = text.length;
    text += pieces[i + 1]!;
    return [start, end];
  });
  return { text, ranges };
}

/** What templates do to an assistant's text. */
const CHANGES = [(text: string) => text, (text: string) => text.trim()];

/** Length of what closes a turn at the start of `after`: an end-of-turn token, white space before it. */
function turnEndLength(after: string, endOfTurn: readonly string[]): number | undefined {
  const space = after.length - after.trimStart().length;
  const token = endOfTurn
    .filter((candidate) => after.startsWith(candidate, space))
    .sort((a, b) => b.length - a.length)[0];
  return token === undefined ? undefined : space + token.length;
}

/**
 * Renders a conversation and finds what the assistant produced in it. The markers of the template may occur in any
 * message: they change nothing, since spans come from where contents are printed and not from searching.
 *
 * @throws if a turn cannot be located: the template changes the assistant's text other than by trimming it, leaves it
 *   out, or does not close the turn with one of its end-of-turn tokens; or the turn has tool calls
 */
export function renderConversation(
  template: ChatTemplate,
  messages: readonly Message[],
  options: RenderOptions = {},
): RenderedConversation {
  const withCalls = messages.findIndex(
    (message) => message.role === 'assistant' && message['tool_calls'] != null,
  );
  if (withCalls >= 0) throw new Error(`message ${withCalls}: tool_calls of the assistant are not supported`);
  const given = messages.map((message) => ({
    ...message,
    content: templateContent(message.content, (text) => text),
  }));
  const text = template.render(given, options);
  const { slots, pieces } = literalPieces(template, messages, options);
  const fitting = CHANGES.map((change) => assemble(pieces, slots, change)).find(
    (result) => result.text === text,
  );
  if (!fitting) {
    throw new Error(
      `${template.file}: the chat template changes the assistant's text: what it produced cannot be located`,
    );
  }
  const spans: Span[] = [];
  slots.forEach((slot, i) => {
    // The parts of one message make one span.
    if (slots[i + 1]?.message === slot.message) return;
    const first = slots.findIndex((candidate) => candidate.message === slot.message);
    const length = turnEndLength(pieces[i + 1]!, template.endOfTurn);
    if (length === undefined) {
      throw new Error(
        `${template.file}: the chat template does not close the assistant's turn (message ${slot.message}) with ` +
          `one of the end-of-turn tokens ${template.endOfTurn.join(', ') || '(none is known)'}`,
      );
    }
    spans.push([fitting.ranges[first]![0], fitting.ranges[i]![1] + length]);
  });
  return { text, assistantSpans: spans };
}

/**
 * Loss mask of tokens, [T]: 1 where a token lies wholly in a span. A token that begins in the assistant's header
 * (the header's line end merged with one that opens the answer) was not produced by it.
 *
 * @param offsets [T, 2] row-major, ascending
 * @param spans ascending
 */
export function maskFromSpans(offsets: Int32Array, spans: readonly Span[]): Uint8Array {
  const mask = new Uint8Array(offsets.length / 2);
  let next = 0;
  for (let i = 0; i < mask.length; i++) {
    const [start, end] = [offsets[2 * i]!, offsets[2 * i + 1]!];
    while (next < spans.length && spans[next]![1] <= start) next++;
    const span = spans[next];
    if (span && start >= span[0] && end <= span[1]) mask[i] = 1;
  }
  return mask;
}
