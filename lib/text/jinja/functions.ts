import { str } from './format.js';
import { bind, integer, text } from './signature.js';
import { strftime } from './strftime.js';
import type { Parameter } from './syntax.js';
import { unpack } from './loop.js';
import {
  Callable,
  Dict,
  iterate,
  Namespace,
  orElse,
  Range,
  TemplateError,
  Tuple,
  Undefined,
  type Keywords,
  type Value,
} from './values.js';

/** Whether a name occurs in a macro's body: what a macro accepts besides its parameters depends on it. */
function mentions(node: unknown, name: string): boolean {
  if (typeof node !== 'object' || node === null) return false;
  const { type, name: own } = node as { type?: unknown; name?: unknown };
  if (type === 'name' && own === name) return true;
  return Object.values(node).some((child) => mentions(child, name));
}

/** Values of a macro's parameters that a call gives, with `varargs`, `kwargs` and `caller` where the macro uses them. */
export function bindMacro(
  name: string,
  parameters: readonly Parameter[],
  body: unknown,
  args: readonly Value[],
  keywords: Keywords,
): Map<string, Value> {
  const values = new Map<string, Value>();
  parameters.forEach(({ name: parameter }, i) => {
    const value = args[i];
    if (value !== undefined) values.set(parameter, value);
  });
  const rest = new Dict();
  for (const [keyword, value] of keywords) {
    if (values.has(keyword))
      throw new TemplateError(`macro '${name}' got multiple values for argument '${keyword}'`);
    if (parameters.some((parameter) => parameter.name === keyword)) values.set(keyword, value);
    else if (keyword !== 'caller') rest.set(keyword, value);
  }
  const free = (variable: string) => !values.has(variable) && mentions(body, variable);
  if (free('caller'))
    values.set(
      'caller',
      orElse(keywords.get('caller'), () => new Undefined('No caller defined')),
    );
  else if (keywords.has('caller'))
    throw new TemplateError(`macro '${name}' was invoked with two values for caller`);
  if (free('kwargs')) values.set('kwargs', rest);
  else if (rest.size > 0)
    throw new TemplateError(`macro '${name}' takes no keyword argument ${str([...rest.keys()][0]!)}`);
  if (free('varargs')) values.set('varargs', new Tuple(args.slice(parameters.length)));
  else if (args.length > parameters.length) {
    throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
  }
  return values;
}

function dict(args: readonly Value[], keywords: Keywords): Dict {
  const result = new Dict();
  const [source] = bind('dict', [['/mapping', null]], args, new Map());
  if (source instanceof Dict) for (const [key, value] of source.entries()) result.set(key, value);
  else if (source !== null || args.length > 0) {
    for (const pair of iterate(source!)) result.set(...(unpack(pair, 2) as [Value, Value]));
  }
  for (const [key, value] of keywords) result.set(key, value);
  return result;
}

function range(args: readonly Value[], keywords: Keywords): Range {
  if (keywords.size > 0 || args.length < 1 || args.length > 3)
    throw new TemplateError('range() expects 1 to 3 integers');
  const [first, second, step] = args.map((value) => BigInt(integer(value, 'range()')));
  return second === undefined ? new Range(0n, first!, 1n) : new Range(first!, second, step ?? 1n);
}

const FUNCTIONS: Readonly<Record<string, (args: readonly Value[], keywords: Keywords) => Value>> = {
  range,
  dict,
  namespace: (args, keywords) => {
    const namespace = new Namespace();
    for (const [key, value] of dict(args, keywords).entries()) namespace.fields.set(text(key), value);
    return namespace;
  },
  raise_exception: (args, keywords) => {
    const [message] = bind('raise_exception', ['message'], args, keywords);
    throw new TemplateError(str(message!));
  },
  strftime_now: (args, keywords) => {
    const [format] = bind('strftime_now', ['format'], args, keywords);
    return strftime(new Date(), text(format!));
  },
};

/** What every template knows without being told. */
export function globalFunctions(): Iterable<readonly [string, Value]> {
  const known = Object.entries(FUNCTIONS).map(([name, call]) => [name, new Callable(name, call)] as const);
  const unsupported = ['lipsum', 'cycler', 'joiner'].map((name) => {
    const call = () => {
      throw new TemplateError(`${name}() is not supported`);
    };
    return [name, new Callable(name, call)] as const;
  });
  return [...known, ...unsupported];
}
