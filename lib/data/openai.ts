import { describe } from '../hub/files.js';
import type { ContentPart, Message } from '../models/target.js';
import {
  fieldError,
  isMissing,
  jsonField,
  listField,
  mediaField,
  objectField,
  stringField,
  type RecordContext,
} from './conversation.js';
import { MediaColumns } from './media-columns.js';
import type { MediaKind } from './media-kind.js';
import { parseToolCalls } from './tool-calls.js';

/** Options of a video part, as qwen-vl-utils names them; carried to the processor. */
const VIDEO_OPTIONS = new Set([
  'fps',
  'nframes',
  'min_frames',
  'max_frames',
  'min_pixels',
  'max_pixels',
  'total_pixels',
  'resized_height',
  'resized_width',
  'video_start',
  'video_end',
]);

/** Options of a video part that are true or false: whether its sound track is heard too. */
const VIDEO_FLAGS = new Set(['use_audio_in_video']);

/** Fields that hold the reference of a media part. */
const REFERENCES: Record<MediaKind, readonly string[]> = {
  image: ['image', 'image_url'],
  video: ['video', 'video_url'],
  audio: ['audio', 'audio_url', 'input_audio'],
};

const PART_KINDS = new Map<string, MediaKind>(
  Object.entries(REFERENCES).flatMap(([kind, names]) => names.map((name) => [name, kind as MediaKind])),
);

/** Fields of media parts that are no options: `detail` is OpenAI's hint how closely to look, and changes nothing. */
const NO_OPTIONS = new Set(['type', 'detail', 'index']);

function parseOptions(
  context: RecordContext,
  field: string,
  kind: MediaKind,
  fields: Record<string, unknown>,
): Record<string, number | boolean> {
  const options: Record<string, number | boolean> = {};
  for (const [key, value] of Object.entries(fields)) {
    const flag = VIDEO_FLAGS.has(key);
    if (kind !== 'video' || !(flag || VIDEO_OPTIONS.has(key)))
      throw fieldError(context, field, `unknown field ${describe(key)}`);
    if (flag) {
      if (typeof value !== 'boolean') {
        throw fieldError(context, `${field}.${key}`, `expected true or false, received ${describe(value)}`);
      }
      options[key] = value;
      continue;
    }
    if (typeof value !== 'number' || value < 0) {
      throw fieldError(
        context,
        `${field}.${key}`,
        `expected a number that is not negative, received ${describe(value)}`,
      );
    }
    options[key] = value;
  }
  return options;
}

/** A media part; one without a reference stands for the next entry of the columns, whose `index` it may name. */
async function parseMedia(
  context: RecordContext,
  field: string,
  kind: MediaKind,
  part: Record<string, unknown>,
  columns: MediaColumns,
): Promise<ContentPart | undefined> {
  const names = REFERENCES[kind].filter((name) => !isMissing(part[name]));
  if (names.length > 1 || (names.length === 0 && !columns.present)) {
    throw fieldError(
      context,
      field,
      `expected one of ${REFERENCES[kind].join(', ')}, received ${names.join(', ') || 'none'}`,
    );
  }
  const others = Object.entries(part).filter(
    ([key]) => !REFERENCES[kind].includes(key) && !NO_OPTIONS.has(key),
  );
  const options = parseOptions(context, field, kind, Object.fromEntries(others));
  const name = names[0];
  const source =
    name === undefined
      ? await columns.next(kind, part['index'])
      : await mediaField(context, `${field}.${name}`, part[name], kind);
  return source && { ...options, type: kind, source };
}

async function parsePart(
  context: RecordContext,
  field: string,
  value: unknown,
  columns: MediaColumns,
): Promise<ContentPart | undefined> {
  // Data sets with one schema for all parts fill up with nulls.
  const part = withoutNulls(objectField(context, field, value));
  const type = stringField(context, `${field}.type`, part['type']);
  const kind = PART_KINDS.get(type);
  if (kind) return parseMedia(context, field, kind, part, columns);
  if (type !== 'text') throw fieldError(context, field, `unknown type ${describe(type)} of a content part`);
  const extra = Object.keys(part).find((key) => key !== 'type' && key !== 'text');
  if (extra !== undefined) throw fieldError(context, field, `unknown field ${describe(extra)}`);
  return { type: 'text', text: stringField(context, `${field}.text`, part['text']) };
}

function withoutNulls(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).filter(([, field]) => field !== null && field !== undefined),
  );
}

async function parseContent(
  context: RecordContext,
  field: string,
  role: string,
  content: unknown,
  columns: MediaColumns,
): Promise<Message['content']> {
  if (typeof content === 'string') {
    return columns.present && role !== 'assistant' ? columns.cut(field, content) : content;
  }
  const parts: ContentPart[] = [];
  for (const [j, value] of listField(context, field, content).entries()) {
    const part = await parsePart(context, `${field}[${j}]`, value, columns);
    if (part) parts.push(part);
  }
  return parts;
}

/**
 * Parses OpenAI's form: `messages` whose content is a string, or a list of parts. Where the record has columns of
 * media too (`images` …), strings are cut at their marks `<image>` …, as in ShareGPT's form.
 */
export async function parseMessages(
  context: RecordContext,
  record: Record<string, unknown>,
): Promise<Message[]> {
  const columns = new MediaColumns(context, record);
  const messages: Message[] = [];
  const turns = jsonField(context, 'messages', record['messages']);
  for (const [i, entry] of listField(context, 'messages', turns).entries()) {
    const field = `messages[${i}]`;
    const {
      role: name,
      content,
      tool_calls: value,
      ...rest
    } = withoutNulls(objectField(context, field, entry));
    const role = stringField(context, `${field}.role`, name);
    const calls = value === undefined ? [] : parseToolCalls(context, `${field}.tool_calls`, value);
    if (calls.length > 0 && role !== 'assistant')
      throw fieldError(
        context,
        `${field}.tool_calls`,
        `expected them on an assistant's message, received ${role}`,
      );
    messages.push({
      ...rest,
      role,
      content:
        content === undefined && calls.length > 0
          ? ''
          : await parseContent(context, `${field}.content`, role, content, columns),
      ...(calls.length > 0 && { tool_calls: calls }),
    });
  }
  columns.checkUsed();
  return messages;
}
