import { describe, isObject } from '../hub/files.js';
import type { ContentPart, Message } from '../models/target.js';
import {
  fieldError,
  listField,
  mediaField,
  objectField,
  stringField,
  type RecordContext,
} from './conversation.js';

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

/** Fields that hold the reference of a media part. */
const REFERENCES = {
  image: ['image', 'image_url'],
  video: ['video', 'video_url'],
  audio: ['audio', 'audio_url', 'input_audio'],
} as const;

const PART_KINDS = new Map<string, keyof typeof REFERENCES>(
  Object.entries(REFERENCES).flatMap(([kind, names]) =>
    names.map((name) => [name, kind as keyof typeof REFERENCES]),
  ),
);

/** A path or URI: as it is, `{url}`, or OpenAI's `{data, format}` of sound. */
function referenceOf(value: unknown): unknown {
  if (!isObject(value)) return value;
  const { data, format, url } = value;
  if (typeof data !== 'string') return url;
  return `data:audio/${typeof format === 'string' ? format : 'wav'};base64,${data}`;
}

async function parseMedia(
  context: RecordContext,
  field: string,
  kind: keyof typeof REFERENCES,
  part: Record<string, unknown>,
): Promise<ContentPart> {
  const names = REFERENCES[kind].filter((name) => part[name] !== undefined);
  if (names.length !== 1) {
    throw fieldError(
      context,
      field,
      `expected one of ${REFERENCES[kind].join(', ')}, received ${names.join(', ') || 'none'}`,
    );
  }
  const name = names[0]!;
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(part)) {
    if (key === 'type' || key === name) continue;
    if (kind !== 'video' || !VIDEO_OPTIONS.has(key))
      throw fieldError(context, field, `unknown field ${describe(key)}`);
    if (typeof value !== 'number' || value < 0) {
      throw fieldError(
        context,
        `${field}.${key}`,
        `expected a number that is not negative, received ${describe(value)}`,
      );
    }
    options[key] = value;
  }
  const source = await mediaField(context, `${field}.${name}`, referenceOf(part[name]), kind);
  return { ...options, type: kind, source };
}

async function parsePart(context: RecordContext, field: string, value: unknown): Promise<ContentPart> {
  // Data sets with one schema for all parts fill up with nulls.
  const part = Object.fromEntries(
    Object.entries(objectField(context, field, value)).filter(([, v]) => v !== null),
  );
  const type = stringField(context, `${field}.type`, part['type']);
  const kind = PART_KINDS.get(type);
  if (kind) return parseMedia(context, field, kind, part);
  if (type !== 'text') throw fieldError(context, field, `unknown type ${describe(type)} of a content part`);
  const extra = Object.keys(part).find((key) => key !== 'type' && key !== 'text');
  if (extra !== undefined) throw fieldError(context, field, `unknown field ${describe(extra)}`);
  return { type: 'text', text: stringField(context, `${field}.text`, part['text']) };
}

/** Parses the `messages` of OpenAI's form: content is a string, or a list of parts. */
export async function parseMessages(context: RecordContext, value: unknown): Promise<Message[]> {
  const messages: Message[] = [];
  for (const [i, entry] of listField(context, 'messages', value).entries()) {
    const field = `messages[${i}]`;
    const { role, content, ...rest } = objectField(context, field, entry);
    const parts: ContentPart[] = [];
    if (typeof content !== 'string') {
      for (const [j, part] of listField(context, `${field}.content`, content).entries()) {
        parts.push(await parsePart(context, `${field}.content[${j}]`, part));
      }
    }
    messages.push({
      ...rest,
      role: stringField(context, `${field}.role`, role),
      content: typeof content === 'string' ? content : parts,
    });
  }
  return messages;
}
