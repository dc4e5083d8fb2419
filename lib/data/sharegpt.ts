import { describe } from '../hub/files.js';
import type { Message } from '../models/target.js';
import {
  fieldError,
  jsonField,
  listField,
  objectField,
  stringField,
  type RecordContext,
} from './conversation.js';
import { MediaColumns } from './media-columns.js';
import { parseFunctionCalls } from './tool-calls.js';

const FUNCTION_CALL = 'function_call';

const ROLES: ReadonlyMap<string, string> = new Map([
  ['human', 'user'],
  ['user', 'user'],
  ['gpt', 'assistant'],
  ['assistant', 'assistant'],
  [FUNCTION_CALL, 'assistant'],
  ['observation', 'tool'],
  ['tool', 'tool'],
  ['function', 'tool'],
  ['system', 'system'],
]);

/**
 * Parses ShareGPT's form, LLaVA's and LLaMA-Factory's variants included: `conversations` of `{from, value}`, where each
 * `<image>`, `<video>` and `<audio>` in a value stands for the next entry of the columns `image`, `images`, `video` …
 */
export async function parseConversations(
  context: RecordContext,
  record: Record<string, unknown>,
): Promise<Message[]> {
  const columns = new MediaColumns(context, record);
  const messages: Message[] = [];
  if (typeof record['system'] === 'string' && record['system'] !== '') {
    messages.push({ role: 'system', content: record['system'] });
  }
  const turns = jsonField(context, 'conversations', record['conversations']);
  for (const [i, entry] of listField(context, 'conversations', turns).entries()) {
    const field = `conversations[${i}]`;
    const { from, value } = objectField(context, field, entry);
    const role = ROLES.get(stringField(context, `${field}.from`, from));
    if (role === undefined) throw fieldError(context, `${field}.from`, `unknown role ${describe(from)}`);
    const text = stringField(context, `${field}.value`, value);
    messages.push(
      from === FUNCTION_CALL
        ? { role, content: '', tool_calls: parseFunctionCalls(context, `${field}.value`, text) }
        : { role, content: await columns.cut(`${field}.value`, text) },
    );
  }
  columns.checkUsed();
  return messages;
}
