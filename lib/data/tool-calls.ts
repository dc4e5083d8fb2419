import { describe } from '../hub/files.js';
import { fieldOf, parseCalls, parseExactly, parseToolList } from './exact-json.js';
import {
  fieldError,
  isMissing,
  jsonField,
  listField,
  objectField,
  stringField,
  type RecordContext,
} from './conversation.js';

/** Arguments as chat templates print them: an object. OpenAI's form has them as JSON in a string, which servers parse. */
function parseArguments(context: RecordContext, field: string, value: unknown): Record<string, unknown> {
  if (isMissing(value) || value === '') return {};
  return objectField(context, field, jsonField(context, field, value, parseExactly));
}

function parseFunction(context: RecordContext, field: string, value: unknown): Record<string, unknown> {
  const call = objectField(context, field, value);
  return {
    ...call,
    name: stringField(context, `${field}.name`, call['name']),
    arguments: parseArguments(context, `${field}.arguments`, call['arguments']),
  };
}

/** Parses the `tool_calls` of an assistant's message in OpenAI's form. Arguments become objects. */
export function parseToolCalls(context: RecordContext, field: string, value: unknown): unknown[] {
  return listField(context, field, jsonField(context, field, value, parseCalls)).map((entry, i) => {
    const place = `${field}[${i}]`;
    const call = objectField(context, place, entry);
    const type = call['type'] ?? 'function';
    if (type !== 'function')
      throw fieldError(context, `${place}.type`, `expected "function", received ${describe(type)}`);
    return { ...call, type, function: parseFunction(context, `${place}.function`, call['function']) };
  });
}

/** Parses the text of ShareGPT's `function_call` turn: JSON of one `{name, arguments}` or a list of them. */
export function parseFunctionCalls(context: RecordContext, field: string, text: string): unknown[] {
  const value = jsonField(context, field, text, parseCalls);
  const calls = Array.isArray(value) ? (value as unknown[]) : [value];
  if (calls.length === 0) throw fieldError(context, field, 'expected at least one call, received none');
  return calls.map((call, i) => ({
    type: 'function',
    function: parseFunction(context, Array.isArray(value) ? `${field}[${i}]` : field, call),
  }));
}

/**
 * Parses the column `tools`: a list, or JSON of one. What LLaMA-Factory writes without OpenAI's `{type, function}`
 * around it gets that, as servers receive it.
 */
export function parseTools(context: RecordContext, value: unknown): unknown[] | undefined {
  if (isMissing(value) || value === '') return undefined;
  return listField(context, 'tools', jsonField(context, 'tools', value, parseToolList)).map((entry, i) => {
    const tool = objectField(context, `tools[${i}]`, entry);
    const isBare =
      typeof fieldOf(tool, 'name') === 'string' &&
      fieldOf(tool, 'type') === undefined &&
      fieldOf(tool, 'function') === undefined;
    return isBare ? { type: 'function', function: tool } : tool;
  });
}
