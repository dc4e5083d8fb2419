import { dumpJson, repr, str } from './format.js';
import { capitalize } from './letters.js';
import { arithmetic, getItem } from './operators.js';
import { getter, LIST_FILTERS } from './list-filters.js';
import { bind, filter, integer, text, type BuiltinParameter, type Filter } from './signature.js';
import { PYTHON_SPACE, splitLines, strip } from './space.js';
import { formatPercent } from './string-format.js';
import { replace, stringMethod } from './strings.js';
import {
  Dict,
  iterate,
  length,
  Markup,
  numeric,
  Stream,
  TemplateError,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Keywords,
  type Value,
} from './values.js';

/** Text that a filter of strings is given: numbers and the like are printed first. */
const soft = (value: Value): string => (value instanceof Markup ? text(value) : str(value));

const escape = (value: string): string =>
  value.replace(/[&<>'"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&#39;' })[c] ?? '&#34;');

const urlQuote = (value: Value, slash: string): string =>
  Array.from(new TextEncoder().encode(str(value)), (byte) => {
    const c = String.fromCharCode(byte);
    return /[\w.~-]/.test(c) || c === slash ? c : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }).join('');

function urlEncode(value: Value): string {
  if (typeof value === 'string' || numeric(value) !== undefined || value === null)
    return urlQuote(value, '/');
  if (!(value instanceof Dict)) throw new TemplateError('urlencode of a list is not supported');
  const quote = (part: Value) => urlQuote(part, '').replaceAll('%20', '+');
  return [...value.entries()].map(([key, item]) => `${quote(key)}=${quote(item)}`).join('&');
}

function indent(value: Value, width: Value, first: Value, blank: Value): string {
  const by = typeof width === 'string' ? width : ' '.repeat(Math.max(0, integer(width)));
  const lines = splitLines(`${text(value)}\n`);
  const indented = lines
    .map((line, i) => ((line !== '' || truth(blank)) && i > 0 ? by + line : line))
    .join('\n');
  return truth(first) ? by + indented : indented;
}

function title(value: string): string {
  return value
    .split(new RegExp(`([-${PYTHON_SPACE}({\\[<]+)`))
    .map(capitalize)
    .join('');
}

/** `int(text)`, as a bigint; `undefined` if it is none. */
function parseInteger(value: string): bigint | undefined {
  const digits = strip(value, null, 'both').replace(/(?<=\d)_(?=\d)/g, '');
  return /^[+-]?\d+$/.test(digits) ? BigInt(digits.replace('+', '')) : undefined;
}

function parseFloating(value: string): number | undefined {
  const digits = strip(value, null, 'both').replace(/(?<=\d)_(?=\d)/g, '');
  if (/^[+-]?(?:inf(?:inity)?|nan)$/i.test(digits))
    throw new TemplateError(`${digits} as a float is not supported`);
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(digits) ? Number(digits) : undefined;
}

/** A value as a float; `undefined` if it is none. */
function toFloat(value: Value): number | undefined {
  if (typeof value === 'string') {
    // Python reads the digits of other scripts as well.
    if (/[^\0-\x7f]/.test(strip(value, null, 'both')) && /\p{Nd}/u.test(value))
      throw new TemplateError('unsupported digits');
    return parseFloating(value);
  }
  const number = numeric(value);
  return number === undefined ? undefined : Number(number);
}

function toInteger(value: Value, fallback: Value, base: Value): Value {
  if (integer(base) !== 10) throw new TemplateError('int with another base is not supported');
  if (value instanceof Undefined) throw new TemplateError(value.message);
  const exact =
    typeof value === 'string' ? parseInteger(value) : typeof value === 'number' ? undefined : numeric(value);
  const float = toFloat(value);
  if (typeof exact === 'bigint') return exact;
  return float === undefined || !Number.isFinite(float) ? fallback : BigInt(Math.trunc(float));
}

function round(value: Value, precision: Value, method: Value): Value {
  const number = numeric(value);
  if (number === undefined) throw new TemplateError(`a ${typeName(value)} cannot be rounded`);
  const digits = integer(precision);
  if (method !== 'common') {
    if (method !== 'ceil' && method !== 'floor')
      throw new TemplateError('method must be common, ceil or floor');
    if (digits !== 0) throw new TemplateError('ceil and floor with digits are not supported');
    const rounded = method === 'ceil' ? Math.ceil(Number(number)) : Math.floor(Number(number));
    return rounded + 0;
  }
  if (typeof number === 'bigint') {
    if (digits < 0) throw new TemplateError('rounding an integer to tens is not supported');
    return number;
  }
  if (digits < 0) throw new TemplateError('rounding to tens is not supported');
  return Number(formatPercent(`%.${digits}f`, number));
}

function toJson(value: Value, ascii: Value, indentation: Value, separators: Value, sortKeys: Value): string {
  const by =
    indentation === null
      ? undefined
      : typeof indentation === 'string'
        ? indentation
        : ' '.repeat(Math.max(0, integer(indentation)));
  const pair = separators === null ? [by === undefined ? ', ' : ',', ': '] : [...iterate(separators)];
  if (pair.length !== 2) throw new TemplateError('separators: expected two strings');
  return dumpJson(value, {
    ensureAscii: truth(ascii),
    indent: by,
    separators: [text(pair[0]!), text(pair[1]!)],
    sortKeys: truth(sortKeys),
  });
}

function prettyPrint(value: Value): string {
  const line = repr(value);
  const nested = Array.isArray(value) && value.some((item) => typeof item === 'object' && item !== null);
  if (line.length > 78 || nested || value instanceof Dict || value instanceof Tuple || line.includes('\\n')) {
    throw new TemplateError('pprint of what does not fit on a line, or is nested, is not supported');
  }
  return line;
}

/** A filter that is a method of str. */
const method =
  (name: string, parameters: readonly BuiltinParameter[] = []): Filter =>
  (value, args, keywords) =>
    stringMethod(soft(value), name)!.call(bind(name, parameters, args, keywords), new Map());

function map(value: Value, args: readonly Value[], keywords: Keywords): Value {
  let change: (item: Value) => Value;
  if (args.length === 0 && keywords.has('attribute')) {
    const extra = [...keywords.keys()].find((name) => name !== 'attribute' && name !== 'default');
    if (extra !== undefined) throw new TemplateError(`map has no argument ${extra}`);
    change = getter(keywords.get('attribute')!, keywords.get('default'));
  } else {
    const [name, ...rest] = args;
    if (name === undefined) throw new TemplateError('map needs a filter');
    change = (item) => applyFilter(str(name), item, rest, keywords);
  }
  return new Stream(
    (function* () {
      if (truth(value)) for (const item of iterate(value)) yield change(item);
    })(),
  );
}

const FILTERS: Readonly<Record<string, Filter>> = {
  ...LIST_FILTERS,
  map,
  upper: method('upper'),
  lower: method('lower'),
  capitalize: method('capitalize'),
  center: method('center', [['width', 80n]]),
  trim: method('strip', [['chars', null]]),
  title: filter('title', [], (value) => title(soft(value))),
  string: filter('string', [], (value) => (value instanceof Markup ? value : str(value))),
  safe: filter('safe', [], (value) => new Markup(str(value))),
  escape: filter('escape', [], (value) => (value instanceof Markup ? value : new Markup(escape(str(value))))),
  forceescape: filter('forceescape', [], (value) => new Markup(escape(str(value)))),
  replace: filter('replace', ['old', 'new', ['count', null]], (value, from, to, count) =>
    replace(str(value), str(from), str(to), count === null ? -1 : integer(count)),
  ),
  indent: filter(
    'indent',
    [
      ['width', 4n],
      ['first', false],
      ['blank', false],
    ],
    (value, width, first, blank) => indent(value, width, first, blank),
  ),
  wordcount: filter('wordcount', [], (value) => BigInt(soft(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0)),
  urlencode: filter('urlencode', [], urlEncode),
  format: (value, args, keywords) => {
    if (args.length > 0 && keywords.size > 0)
      throw new TemplateError('format takes either positional or named arguments');
    return formatPercent(soft(value), keywords.size > 0 ? new Dict(keywords) : new Tuple(args));
  },
  tojson: filter(
    'tojson',
    [
      ['ensure_ascii', false],
      ['indent', null],
      ['separators', null],
      ['sort_keys', false],
    ],
    (value, ascii, by, separators, sortKeys) => toJson(value, ascii, by, separators, sortKeys),
  ),
  pprint: filter('pprint', [], prettyPrint),
  default: filter(
    'default',
    [
      ['default_value', ''],
      ['boolean', false],
    ],
    (value, fallback, boolean) =>
      value instanceof Undefined || (truth(boolean) && !truth(value)) ? fallback! : value,
  ),
  length: filter('length', [], length),
  abs: filter('abs', [], (value) => {
    const number = numeric(value);
    if (number === undefined) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
    return typeof number === 'bigint' ? (number < 0n ? -number : number) : Math.abs(number);
  }),
  int: filter(
    'int',
    [
      ['default', 0n],
      ['base', 10n],
    ],
    (value, fallback, base) => toInteger(value, fallback, base),
  ),
  float: filter('float', [['default', 0]], (value, fallback) => {
    if (value instanceof Undefined) throw new TemplateError(value.message);
    const float = toFloat(value);
    return float === undefined ? fallback! : float;
  }),
  round: filter(
    'round',
    [
      ['precision', 0n],
      ['method', 'common'],
    ],
    (value, precision, kind) => round(value, precision, kind),
  ),
  attr: filter('attr', ['name'], (value, name) => {
    const found = value instanceof Dict ? undefined : getItem(value, name);
    if (found === undefined) throw new TemplateError('attr of a dict is not supported');
    return found;
  }),
  items: filter('items', [], (value) => {
    if (value instanceof Undefined) return new Stream([]);
    if (!(value instanceof Dict)) throw new TemplateError('Can only get item pairs from a mapping.');
    return new Stream([...value.entries()].map((pair) => new Tuple(pair)).values());
  }),
  sum: filter(
    'sum',
    [
      ['attribute', null],
      ['start', 0n],
    ],
    (value, attribute, start): Value => {
      if (attribute !== null) throw new TemplateError('sum with an attribute is not supported');
      let total: Value = start;
      for (const item of iterate(value)) total = arithmetic('+', total, item);
      return total;
    },
  ),
};
const ALIASES: Readonly<Record<string, string>> = { e: 'escape', d: 'default', count: 'length' };

/** Applies `value|name(args)`. */
export function applyFilter(name: string, value: Value, args: readonly Value[], keywords: Keywords): Value {
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  if (!Object.hasOwn(FILTERS, known)) throw new TemplateError(`unsupported filter '${name}'`);
  return FILTERS[known]!(value, args, keywords);
}
