import { describe } from '../hub/files.js';
import type { ContentPart, Message } from '../models/target.js';
import {
  fieldError,
  listField,
  mediaField,
  objectField,
  stringField,
  type RecordContext,
} from './conversation.js';

const ROLES: ReadonlyMap<string, string> = new Map([
  ['human', 'user'],
  ['user', 'user'],
  ['gpt', 'assistant'],
  ['assistant', 'assistant'],
  ['system', 'system'],
]);

const KINDS = ['image', 'video'] as const;
type Kind = (typeof KINDS)[number];

/** References of one kind that are not placed yet. */
interface Column {
  field: string;
  references: unknown[];
  used: number;
}

/** The columns `image` and `images` (`video`, `videos`): a string or a list. */
function readColumn(context: RecordContext, record: Record<string, unknown>, kind: Kind): Column {
  const present = [kind, `${kind}s`].filter((name) => record[name] !== undefined && record[name] !== null);
  if (present.length > 1) throw fieldError(context, present.join(' and '), 'expected only one of them');
  const field = present[0] ?? `${kind}s`;
  const value = record[field] ?? [];
  return {
    field,
    references: typeof value === 'string' ? [value] : listField(context, field, value),
    used: 0,
  };
}

/** Cuts a turn's text at its marks. What is between them stays as it is. */
async function parseValue(
  context: RecordContext,
  text: string,
  columns: Record<Kind, Column>,
): Promise<string | ContentPart[]> {
  const parts: ContentPart[] = [];
  for (const piece of text.split(/(<image>|<video>)/)) {
    const kind = KINDS.find((name) => piece === `<${name}>`);
    if (!kind) {
      if (piece !== '') parts.push({ type: 'text', text: piece });
      continue;
    }
    const column = columns[kind];
    const index = column.used++;
    // Too many marks are reported once all of them are counted.
    if (index >= column.references.length) continue;
    const field = `${column.field}[${index}]`;
    parts.push({ type: kind, source: await mediaField(context, field, column.references[index], kind) });
  }
  return parts.every((part) => part.type === 'text') ? text : parts;
}

/**
 * Parses ShareGPT's form: `conversations` of `{from, value}`, where each `<image>` and `<video>` in a value stands for
 * the next entry of the columns `image`, `images`, `video`, `videos`.
 */
export async function parseConversations(
  context: RecordContext,
  record: Record<string, unknown>,
): Promise<Message[]> {
  const columns = {
    image: readColumn(context, record, 'image'),
    video: readColumn(context, record, 'video'),
  };
  const messages: Message[] = [];
  if (typeof record['system'] === 'string' && record['system'] !== '') {
    messages.push({ role: 'system', content: record['system'] });
  }
  for (const [i, entry] of listField(context, 'conversations', record['conversations']).entries()) {
    const field = `conversations[${i}]`;
    const { from, value } = objectField(context, field, entry);
    const role = ROLES.get(stringField(context, `${field}.from`, from));
    if (role === undefined) throw fieldError(context, `${field}.from`, `unknown role ${describe(from)}`);
    messages.push({
      role,
      content: await parseValue(context, stringField(context, `${field}.value`, value), columns),
    });
  }
  for (const kind of KINDS) {
    const { field, references, used } = columns[kind];
    if (used !== references.length) {
      throw fieldError(
        context,
        field,
        `expected as many as <${kind}> marks (${used}), received ${references.length}`,
      );
    }
  }
  return messages;
}
