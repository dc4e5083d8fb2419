import { describe, isObject } from '../hub/files.js';
import { strings } from './conversation.js';
import type { ContentPart, Message } from '../models/target.js';
import type { ChatTemplate, RenderedTemplate, RenderOptions } from '../text/chat-template.js';
import { parseJson } from '../text/jinja/json.js';

/** `[start, end)` in UTF-16 code units of a text. */
export type Span = readonly [start: number, end: number];

export interface RenderedConversation {
  text: string;
  /** What the assistant generates in each of its turns, in order, with the token that ends the turn. */
  assistantSpans: Span[];
}

/** Content in the form that the template prints; media are named, not given. */
function templateContent(template: ChatTemplate, content: string | readonly ContentPart[]): unknown {
  const form = template.contentForm;
  if (typeof content === 'string') return form === 'parts' ? [{ type: 'text', text: content }] : content;
  if (form !== 'string') {
    return content.map((part) =>
      part.type === 'text' ? { type: 'text', text: part.text } : { type: part.type },
    );
  }
  const [part] = content;
  if (content.length > 1 || (part && part.type !== 'text')) {
    throw new Error(
      `expected one text, which is all that ${template.file} prints, received ${content.length} parts`,
    );
  }
  return part?.text ?? '';
}

/** A tool call whose arguments are an object, as servers hand them to the template: OpenAI's form has them as JSON. */
function templateCall(call: unknown): unknown {
  if (!isObject(call) || !isObject(call['function'])) return call;
  const given = call['function']['arguments'];
  if (typeof given !== 'string') return call;
  return { ...call, function: { ...call['function'], arguments: parseJson(given === '' ? '{}' : given) } };
}

function templateMessage(template: ChatTemplate, message: Message, index: number): Record<string, unknown> {
  try {
    const { tool_calls: calls, ...rest } = message;
    const given = { ...rest, content: templateContent(template, message.content) };
    if (calls === undefined || calls === null) return given;
    if (!Array.isArray(calls)) throw new Error(`tool_calls: expected a list, received ${describe(calls)}`);
    return calls.length === 0 ? given : { ...given, tool_calls: calls.map(templateCall) };
  } catch (error) {
    throw new Error(`message ${index}: ${(error as Error).message}`, { cause: error });
  }
}

/** The conversation that asks the assistant for the message at `index`, and what at its end does so. */
function generationPrompt(
  template: ChatTemplate,
  messages: readonly unknown[],
  index: number,
  options: RenderOptions,
): { asked: string; prompt: string } {
  const before = messages.slice(0, index);
  const plain = template.render(before, { ...options, addGenerationPrompt: false });
  const asked = template.render(before, { ...options, addGenerationPrompt: true });
  if (asked.startsWith(plain)) return { asked, prompt: asked.slice(plain.length) };
  throw new Error(
    `${template.file}: the chat template changes what comes before its generation prompt (at message ${index})`,
  );
}

/** Where the part of a turn begins that the assistant generates: after what of the generation prompt is in the text. */
function startOfAnswer(
  turn: Span,
  { asked, prompt }: ReturnType<typeof generationPrompt>,
  { text, pieces }: RenderedTemplate,
): number | undefined {
  const [start, end] = turn;
  // Some templates close the user's turn only where something follows: then the prompt begins before this turn.
  if (asked.length >= start && asked.length <= end && text.startsWith(asked)) return asked.length;
  if (text.slice(start, end).startsWith(prompt)) return start + prompt.length;
  // A prompt may open a block of thoughts that the text of earlier turns has not: the header is what both begin with.
  let common = start;
  while (common < end && text[common] === prompt[common - start]) common++;
  return pieces.findLast((piece) => piece.end > start && piece.end <= common)?.end;
}

/** End of the token that closes a turn: the last thing in it but white space, and not a part of what a message says. */
function endOfAnswer(
  [start, end]: Span,
  { text, pieces }: RenderedTemplate,
  said: string,
  tokens: readonly string[],
): number | undefined {
  const closed = text.slice(start, end).trimEnd();
  const close = start + closed.length;
  const isOwn = (token: string) => {
    const first = pieces.findIndex((piece) => piece.end > close - token.length);
    const last = pieces.findIndex((piece) => piece.end >= close);
    return pieces.slice(first, last + 1).every((piece) => piece.literal) || !said.includes(token);
  };
  return tokens.some((token) => closed.endsWith(token) && isOwn(token)) ? close : undefined;
}

/**
 * Renders a conversation and finds what the assistant generates in it. A turn's span runs from the end of the
 * generation prompt to the end-of-turn token, both known from where the template prints what, so that no message can
 * spell out a turn. `{% generation %}` blocks, where the template has them, are the spans instead.
 *
 * @throws if a turn cannot be located: the template leaves it out, prints it elsewhere than in a loop over the messages
 *   or in several places, or does not close it with one of its end-of-turn tokens
 */
export function renderConversation(
  template: ChatTemplate,
  messages: readonly Message[],
  options: RenderOptions = {},
): RenderedConversation {
  const given = messages.map((message, i) => templateMessage(template, message, i));
  const rendered = template.trace(given, options);
  if (template.marksGeneration) {
    if (rendered.generations.some(({ captured }) => captured)) {
      throw new Error(
        `${template.file}: the chat template prints a {% generation %} block by way of a variable`,
      );
    }
    return {
      text: rendered.text,
      assistantSpans: rendered.generations.map(({ start, end }): Span => [start, end]),
    };
  }
  const assistantSpans: Span[] = [];
  given.forEach((message, i) => {
    if (message['role'] !== 'assistant') return;
    const places = rendered.turns.filter((place) => place.message === i);
    const [place] = places;
    if (!place || places.length > 1 || place.captured) {
      throw new Error(
        `${template.file}: the chat template does not print the assistant's turn (message ${i}) once, in a loop over ` +
          'the messages',
      );
    }
    const turn: Span = [place.start, place.end];
    const start = startOfAnswer(turn, generationPrompt(template, given, i, options), rendered);
    if (start === undefined) {
      throw new Error(
        `${template.file}: the assistant's turn (message ${i}) does not begin as the generation prompt of the chat ` +
          'template does',
      );
    }
    const end = endOfAnswer(
      [start, place.end],
      rendered,
      [...strings(messages[i])].join('\n'),
      template.endOfTurn,
    );
    if (end === undefined) {
      throw new Error(
        `${template.file}: the chat template does not close the assistant's turn (message ${i}) with ` +
          `one of the end-of-turn tokens ${template.endOfTurn.join(', ') || '(none is known)'}`,
      );
    }
    assistantSpans.push([start, end]);
  });
  return { text: rendered.text, assistantSpans };
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
