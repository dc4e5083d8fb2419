import { isObject } from '../hub/files.js';
import { repr } from '../text/jinja/format.js';
import { parseJson } from '../text/jinja/json.js';
import { Dict, toPython, type Value } from '../text/jinja/values.js';

/**
 * What JSON holds, as templates print it: as `JSON.parse` gives it, or, where that loses what Python would print (1.0, the
 * digits of a large integer, the order of keys), as values of the template language.
 *
 * @param value of `JSON.parse`
 * @param exact of `parseJson`
 */
function faithful(value: unknown, exact: Value): unknown {
  try {
    return repr(toPython(value)) === repr(exact) ? value : exact;
  } catch {
    // Digits that are lost cannot be printed.
    return exact;
  }
}

/** Parses JSON; see {@link faithful}. Objects may be a {@link Dict}. */
export function parseExactly(text: string): unknown {
  return faithful(JSON.parse(text), parseJson(text));
}

/** A field of an object, or of a {@link Dict}. */
export function fieldOf(value: object, name: string): unknown {
  return value instanceof Dict ? value.get(name) : (value as Record<string, unknown>)[name];
}

function child(value: unknown, key: string | number): unknown {
  if (Array.isArray(value)) return (value as unknown[])[key as number];
  return isObject(value) ? fieldOf(value, String(key)) : undefined;
}

function* items(value: unknown, exact: unknown): Generator<[value: unknown, exact: unknown]> {
  if (!Array.isArray(value)) return;
  for (const [i, item] of (value as unknown[]).entries()) yield [item, child(exact, i)];
}

function keepArguments(called: unknown, exact: unknown): void {
  if (!isObject(called) || !isObject(called['arguments'])) return;
  called['arguments'] = faithful(called['arguments'], child(exact, 'arguments') as Value);
}

/** Calls in OpenAI's form, `{function: {name, arguments}}`, or without it. */
function keepCalls(calls: unknown, exact: unknown): void {
  for (const [call, as] of items(calls, exact)) {
    keepArguments(call, as);
    keepArguments(child(call, 'function'), child(as, 'function'));
  }
}

/** Parses JSON of one call or a list of them, with arguments as {@link parseExactly} has them. */
export function parseCalls(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const exact = parseJson(text);
  if (Array.isArray(value)) keepCalls(value, exact);
  else keepCalls([value], [exact]);
  return value;
}

/** Parses JSON of a list of tools, each as {@link parseExactly} has it. */
export function parseToolList(text: string): unknown {
  const value: unknown = JSON.parse(text);
  return Array.isArray(value) ? keepTools(value, parseJson(text)) : value;
}

function keepTools(tools: readonly unknown[], exact: unknown): unknown[] {
  return [...items(tools, exact)].map(([tool, as]) => faithful(tool, as as Value));
}

/** Parses JSON of a record: its tools, and the arguments of the calls in its messages, are as {@link parseExactly} has them. */
export function parseRecordText(text: string): unknown {
  const record: unknown = JSON.parse(text);
  if (!isObject(record) || !/"tool(?:s|_calls)"/.test(text)) return record;
  const exact = parseJson(text);
  const { tools, messages } = record;
  if (Array.isArray(tools)) record['tools'] = keepTools(tools, child(exact, 'tools'));
  for (const [message, as] of items(messages, child(exact, 'messages'))) {
    keepCalls(child(message, 'tool_calls'), child(as, 'tool_calls'));
  }
  return record;
}
