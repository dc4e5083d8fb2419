import { describe, isObject } from '../hub/files.js';
import type { ContentPart, ConversationRecord, MediaSource, Message } from '../models/target.js';
import { Dict } from '../text/jinja/values.js';
import { describeJsonProblem } from './jsonl.js';
import type { MediaKind } from './media-kind.js';
import { EmbeddedMedia } from './media-source.js';
import { RecordError } from './record-error.js';

/** What the parsers of both forms need to know of the record that they are in. */
export interface RecordContext {
  /** `file:line` */
  where: string;
  /** Finds a media reference; rejects with the reason. */
  media(reference: string | EmbeddedMedia, kind: MediaKind): Promise<MediaSource>;
}

/** {@link RecordError} at a field of a record. */
export function fieldError(
  context: RecordContext,
  field: string,
  reason: string,
  cause?: unknown,
): RecordError {
  return new RecordError(context.where, `${field}: ${reason}`, { cause });
}

/** A field that must be a string. */
export function stringField(context: RecordContext, field: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw fieldError(context, field, `expected a string, received ${describe(value)}`);
}

/** A field that must be an object. */
export function objectField(context: RecordContext, field: string, value: unknown): Record<string, unknown> {
  if (isObject(value)) return value;
  throw fieldError(context, field, `expected an object, received ${describe(value)}`);
}

/** A field that must be a list. */
export function listField(context: RecordContext, field: string, value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw fieldError(context, field, `expected a list, received ${describe(value)}`);
}

/** Whether a field is not there: data sets with one schema for all records fill up with nulls. */
export function isMissing(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}

/** A field that may be written as JSON in a string: what it holds, or what `parse` makes of the string. */
export function jsonField(
  context: RecordContext,
  field: string,
  value: unknown,
  parse: (text: string) => unknown = JSON.parse,
): unknown {
  if (typeof value !== 'string') return value;
  try {
    return parse(value);
  } catch (error) {
    throw fieldError(context, field, describeJsonProblem(value, error), error);
  }
}

/**
 * What stands for a medium: a path or URI, as it is or as OpenAI's `{url}`; OpenAI's `{data, format}` of sound; the
 * `{bytes, path}` of Hugging Face data sets, of which bytes are taken where there are any.
 */
function referenceOf(value: unknown): unknown {
  if (!isObject(value) || value instanceof EmbeddedMedia) return value;
  const { data, format, bytes, path, url } = value;
  if (typeof data === 'string') {
    return `data:audio/${typeof format === 'string' ? format : 'wav'};base64,${data}`;
  }
  return bytes instanceof EmbeddedMedia ? bytes : (path ?? url);
}

/** Finds a media reference; the error names the field. */
export async function mediaField(
  context: RecordContext,
  field: string,
  reference: unknown,
  kind: MediaKind,
): Promise<MediaSource> {
  const found = referenceOf(reference);
  const located = found instanceof EmbeddedMedia ? found : stringField(context, field, found);
  try {
    return await context.media(located, kind);
  } catch (error) {
    throw fieldError(context, field, (error as Error).message, error);
  }
}

/** Text of a message, media left out. */
export function textOf(content: string | readonly ContentPart[]): string {
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

/** Which role may follow which; `undefined` is the start. */
const FOLLOWERS: ReadonlyMap<string | undefined, readonly string[]> = new Map([
  [undefined, ['system', 'developer', 'user']],
  ['system', ['user']],
  ['developer', ['user']],
  ['user', ['assistant']],
  ['assistant', ['user', 'tool']],
  ['tool', ['tool', 'assistant']],
]);

/**
 * Checks that messages make a conversation: a system message at most at the start, then user and assistant in turn
 * (with tool results between two assistant turns); answers that are text or tool calls, and not empty.
 */
export function checkConversation(
  context: RecordContext,
  messages: readonly Message[],
  requireAnswer: boolean,
): void {
  let previous: string | undefined;
  messages.forEach((message, i) => {
    const followers = FOLLOWERS.get(previous)!;
    if (!FOLLOWERS.has(message.role)) {
      throw fieldError(context, `message ${i}`, `unknown role ${describe(message.role)}`);
    }
    if (!followers.includes(message.role)) {
      const after = previous === undefined ? 'at the start' : `after ${previous}`;
      throw fieldError(
        context,
        `message ${i}`,
        `expected role ${followers.join(' or ')} ${after}, received ${message.role}`,
      );
    }
    previous = message.role;
    if (message.role !== 'assistant') return;
    const medium =
      typeof message.content === 'string' ? undefined : message.content.find((part) => part.type !== 'text');
    if (medium)
      throw fieldError(context, `message ${i}`, `an assistant's turn cannot hold ${medium.type} parts`);
    if (textOf(message.content) === '' && message['tool_calls'] === undefined)
      throw fieldError(context, `message ${i}`, 'the assistant says nothing');
  });
  const roles = messages.map((message) => message.role);
  if (!roles.includes('user')) throw new RecordError(context.where, 'the conversation has no user turn');
  if (requireAnswer && !roles.includes('assistant')) {
    throw new RecordError(context.where, 'the conversation has no assistant turn');
  }
}

/** Every string in a value, however deep. */
export function* strings(root: unknown): Generator<string> {
  const pending = [root];
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value === 'string') yield value;
    else if (value instanceof Dict) pending.push(...value.keys(), ...value.values());
    else if (Array.isArray(value)) pending.push(...(value as unknown[]));
    else if (isObject(value)) pending.push(...Object.keys(value), ...Object.values(value));
  }
}

/** A message with its texts, without its media. */
function withoutMedia({ content, ...fields }: Message): Record<string, unknown> {
  return {
    ...fields,
    content: typeof content === 'string' ? content : content.map((part) => textOf([part])),
  };
}

/**
 * Refuses records whose text spells out a media placeholder of the target: servers would read it as one, and media
 * and slots would no longer match.
 *
 * @param placeholders texts of the family's media tokens
 * @throws {@link RecordError}
 */
export function refusePlaceholders(record: ConversationRecord, placeholders: readonly string[]): void {
  for (const text of strings([record.messages.map(withoutMedia), record.tools])) {
    const found = placeholders.find((placeholder) => text.includes(placeholder));
    if (found) throw new RecordError(record.where, `text contains the media placeholder ${found}`);
  }
}
