import { Markup, TemplateError, typeName, type Keywords, type Value } from './values.js';

/** A parameter of a built-in function: required, or with a default. A name that starts with `/` is positional only. */
export type BuiltinParameter = string | readonly [name: string, value: Value];

/** Arguments of a call in the order of the function's parameters. */
export function bind(
  callee: string,
  parameters: readonly BuiltinParameter[],
  args: readonly Value[],
  keywords: Keywords,
): Value[] {
  const name = (parameter: BuiltinParameter) => (typeof parameter === 'string' ? parameter : parameter[0]);
  if (args.length > parameters.length) {
    throw new TemplateError(
      `${callee}() expected at most ${parameters.length} arguments, received ${args.length}`,
    );
  }
  for (const keyword of keywords.keys()) {
    const at = parameters.findIndex((parameter) => name(parameter) === keyword);
    if (at < 0) throw new TemplateError(`${callee}() has no argument ${keyword}`);
    if (at < args.length) throw new TemplateError(`${callee}() received argument ${keyword} twice`);
  }
  return parameters.map((parameter, i) => {
    const value = i < args.length ? args[i] : keywords.get(name(parameter));
    if (value !== undefined) return value;
    if (typeof parameter === 'string')
      throw new TemplateError(`${callee}() needs argument ${parameter.replace('/', '')}`);
    return parameter[1];
  });
}

/** A filter: it takes the value before the `|`, and what is in the parentheses. */
export type Filter = (value: Value, args: readonly Value[], keywords: Keywords) => Value;

/** A filter with parameters after the value. */
export const filter =
  (
    name: string,
    parameters: readonly BuiltinParameter[],
    call: (value: Value, ...args: Value[]) => Value,
  ): Filter =>
  (value, args, keywords) =>
    call(value, ...bind(name, parameters, args, keywords));

/** An argument that must be a str. */
export function text(value: Value, what = 'argument'): string {
  if (typeof value === 'string') return value;
  if (value instanceof Markup)
    throw new TemplateError('changing text that is marked as safe or escaped is not supported');
  throw new TemplateError(`${what}: expected str, received ${typeName(value)}`);
}

/** An argument that must be an int, as a number. */
export function integer(value: Value, what = 'argument'): number {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value !== 'bigint')
    throw new TemplateError(`${what}: expected int, received ${typeName(value)}`);
  return Number(value);
}

/** First index, count and step of a slice of a sequence (`slice.indices` in Python). */
export function sliceIndices(length: number, bounds: readonly Value[]): number[] {
  const [startValue, stopValue, stepValue] = bounds.map((bound) =>
    bound === null ? undefined : integer(bound, 'slice'),
  );
  const step = stepValue ?? 1;
  if (step === 0) throw new TemplateError('slice step cannot be zero');
  const clamp = (at: number | undefined, fallback: number) => {
    if (at === undefined) return fallback;
    const index = at < 0 ? at + length : at;
    return step > 0 ? Math.min(Math.max(index, 0), length) : Math.min(Math.max(index, -1), length - 1);
  };
  const start = clamp(startValue, step > 0 ? 0 : length - 1);
  const stop = clamp(stopValue, step > 0 ? length : -1);
  const indices: number[] = [];
  for (let i = start; step > 0 ? i < stop : i > stop; i += step) indices.push(i);
  return indices;
}
