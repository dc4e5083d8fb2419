import {
  compareStrings,
  Dict,
  Markup,
  Range,
  Stream,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** `repr` of a float: the shortest digits that give it back, with an exponent below 1e-4 and from 1e16 on. */
export function floatRepr(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value < 0 ? '-inf' : 'inf';
  if (Object.is(value, -0)) return '-0.0';
  const [mantissa, exponentText] = value.toExponential().split('e') as [string, string];
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const digits = String(Math.abs(exponent)).padStart(2, '0');
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${digits}`;
  }
  const text = String(value);
  return text.includes('.') ? text : `${text}.0`;
}

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Zs}]/u;
const SHORT_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
  ['\\', '\\\\'],
]);

function stringRepr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let repr = quote;
  for (const c of text) {
    const code = c.codePointAt(0)!;
    if (c === quote) repr += `\\${c}`;
    else if (SHORT_ESCAPES.has(c)) repr += SHORT_ESCAPES.get(c)!;
    else if (c === ' ' || !UNPRINTABLE.test(c)) repr += c;
    else if (code < 0x100) repr += `\\x${code.toString(16).padStart(2, '0')}`;
    else if (code < 0x10000) repr += `\\u${code.toString(16).padStart(4, '0')}`;
    else repr += `\\U${code.toString(16).padStart(8, '0')}`;
  }
  return repr + quote;
}

/** `repr(value)` */
export function repr(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return floatRepr(value);
  if (typeof value === 'string') return stringRepr(value);
  if (Array.isArray(value)) return `[${value.map(repr).join(', ')}]`;
  if (value instanceof Tuple)
    return `(${value.items.map(repr).join(', ')}${value.items.length === 1 ? ',' : ''})`;
  if (value instanceof Dict) {
    return `{${[...value.entries()].map(([key, item]) => `${repr(key)}: ${repr(item)}`).join(', ')}}`;
  }
  if (value instanceof Markup) return `Markup(${stringRepr(value.text)})`;
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Range) {
    return `range(${value.start}, ${value.stop}${value.step === 1n ? '' : `, ${value.step}`})`;
  }
  if (value instanceof Stream && value.view) return `${value.view}(${repr([...value.items])})`;
  throw new TemplateError(`a ${typeName(value)} has no text that could be printed`);
}

/** `str(value)`: what printing gives. */
export function str(value: Value): string {
  if (typeof value === 'string') return value;
  if (value instanceof Markup) return value.text;
  return value instanceof Undefined ? '' : repr(value);
}

export interface JsonOptions {
  ensureAscii: boolean;
  /** What one level of nesting is indented by. */
  indent: string | undefined;
  separators: readonly [item: string, key: string];
  sortKeys: boolean;
}

function jsonString(text: string, ensureAscii: boolean): string {
  // JSON.stringify escapes lone surrogates, which Python keeps.
  const escaped = JSON.stringify(text).replace(
    /\\u(d[89a-f][\da-f]{2})/g,
    (whole, code: string, at: number, all: string) => {
      const slashes = /\\*$/.exec(all.slice(0, at))![0].length;
      return slashes % 2 === 0 ? String.fromCharCode(parseInt(code, 16)) : whole;
    },
  );
  if (!ensureAscii) return escaped;
  return escaped.replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function jsonScalar(value: Value, options: JsonOptions): string | undefined {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return floatRepr(value);
    return Number.isNaN(value) ? 'NaN' : value < 0 ? '-Infinity' : 'Infinity';
  }
  return typeof value === 'string' ? jsonString(value, options.ensureAscii) : undefined;
}

function jsonKey(key: Value, options: JsonOptions): string {
  if (typeof key === 'string') return jsonString(key, options.ensureAscii);
  const scalar = jsonScalar(key, options);
  if (scalar === undefined)
    throw new TemplateError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
  return `"${scalar}"`;
}

/** `json.dumps(value, …)` */
export function dumpJson(value: Value, options: JsonOptions, depth = 0): string {
  const scalar = jsonScalar(value, options);
  if (scalar !== undefined) return scalar;
  const [separator, keySeparator] = options.separators;
  const wrap = (open: string, items: readonly string[], close: string) => {
    if (items.length === 0) return open + close;
    if (options.indent === undefined) return open + items.join(separator) + close;
    const line = (level: number) => `\n${options.indent!.repeat(level)}`;
    return open + line(depth + 1) + items.join(separator + line(depth + 1)) + line(depth) + close;
  };
  const dump = (item: Value) => dumpJson(item, options, depth + 1);
  if (Array.isArray(value)) return wrap('[', value.map(dump), ']');
  if (value instanceof Tuple) return wrap('[', value.items.map(dump), ']');
  if (value instanceof Dict) {
    const entries = [...value.entries()];
    if (options.sortKeys) {
      if (entries.some(([key]) => typeof key !== 'string'))
        throw new TemplateError('sort_keys needs keys that are str');
      entries.sort(([a], [b]) => compareStrings(a as string, b as string));
    }
    return wrap(
      '{',
      entries.map(([key, item]) => jsonKey(key, options) + keySeparator + dump(item)),
      '}',
    );
  }
  throw new TemplateError(`Object of type ${typeName(value)} is not JSON serializable`);
}
