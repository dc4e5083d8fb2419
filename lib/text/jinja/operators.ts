import { formatPercent } from './string-format.js';
import { str } from './format.js';
import { integer, sliceIndices } from './signature.js';
import { stringMethod } from './strings.js';
import type { BinaryOperator, Comparison } from './syntax.js';
import {
  Callable,
  compare,
  defined,
  Dict,
  equal,
  iterate,
  Markup,
  Namespace,
  numeric,
  orElse,
  Range,
  Stream,
  TemplateError,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** Fields of Python's types that a template could ask for; those that are not implemented must not seem missing. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  str: (
    'capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha isascii ' +
    'isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip ' +
    'maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines ' +
    'startswith strip swapcase title translate upper zfill'
  ).split(' '),
  list: ['copy', 'count', 'index'],
  tuple: ['count', 'index'],
  dict: ['copy', 'fromkeys', 'get', 'items', 'keys', 'values'],
  int: [
    'as_integer_ratio',
    'bit_count',
    'bit_length',
    'conjugate',
    'denominator',
    'from_bytes',
    'imag',
    'numerator',
    'real',
    'to_bytes',
  ],
  float: ['as_integer_ratio', 'conjugate', 'fromhex', 'hex', 'imag', 'is_integer', 'real'],
  range: ['count', 'index', 'start', 'step', 'stop'],
  generator: ['close', 'send', 'throw', 'gi_code', 'gi_frame', 'gi_running', 'gi_yieldfrom'],
  dict_keys: ['isdisjoint', 'mapping'],
  dict_values: ['mapping'],
  dict_items: ['isdisjoint', 'mapping'],
};
/** Those that change a value; the sandbox of chat templates forbids them. */
const MUTATING: Readonly<Record<string, readonly string[]>> = {
  list: ['append', 'clear', 'extend', 'insert', 'pop', 'remove', 'reverse', 'sort'],
  dict: ['clear', 'pop', 'popitem', 'setdefault', 'update'],
};

function dictMethod(dict: Dict, name: string): Callable | undefined {
  const arity = (
    args: readonly Value[],
    keywords: ReadonlyMap<string, Value>,
    least: number,
    most: number,
  ) => {
    if (args.length < least || args.length > most || keywords.size > 0) {
      throw new TemplateError(`${name}() received ${args.length + keywords.size} arguments`);
    }
  };
  const view = (kind: 'dict_keys' | 'dict_values' | 'dict_items', items: () => Iterator<Value>) =>
    new Callable(name, (args, keywords) => {
      arity(args, keywords, 0, 0);
      return new Stream({ [Symbol.iterator]: items }, kind);
    });
  switch (name) {
    case 'get':
      return new Callable(name, (args, keywords) => {
        arity(args, keywords, 1, 2);
        return orElse(dict.get(args[0]!), () => orElse(args[1], () => null));
      });
    case 'copy':
      return new Callable(name, (args, keywords) => {
        arity(args, keywords, 0, 0);
        return new Dict(dict.entries());
      });
    case 'keys':
      return view('dict_keys', () => dict.keys());
    case 'values':
      return view('dict_values', () => dict.values());
    case 'items':
      return view('dict_items', function* () {
        for (const [key, value] of dict.entries()) yield new Tuple([key, value]);
      });
    default:
      return undefined;
  }
}

function sequenceMethod(items: readonly Value[], name: string): Callable | undefined {
  if (name !== 'index' && name !== 'count') return undefined;
  return new Callable(name, (args, keywords) => {
    if (args.length !== 1 || keywords.size > 0)
      throw new TemplateError(`${name}() with these arguments is not supported`);
    if (name === 'count') return BigInt(items.filter((item) => equal(item, args[0]!)).length);
    const at = items.findIndex((item) => equal(item, args[0]!));
    if (at < 0) throw new TemplateError('the value that index() looks for is not in the list');
    return BigInt(at);
  });
}

/** An attribute in Python's sense; `undefined` where the type has none of this name. */
function pythonAttribute(object: Value, name: string): Value | undefined {
  if (object instanceof Namespace) return object.fields.get(name);
  if (object instanceof Callable) return object.attribute(name);
  if (object instanceof Markup)
    throw new TemplateError('fields of text that is marked as safe or escaped are not supported');
  const type = typeName(object) === 'bool' ? 'int' : typeName(object);
  if (name.startsWith('__'))
    throw new TemplateError(`access to '${name}' of a '${type}' object is not supported`);
  let method: Callable | undefined;
  if (typeof object === 'string') method = stringMethod(object, name);
  else if (object instanceof Dict) method = dictMethod(object, name);
  else if (Array.isArray(object)) method = sequenceMethod(object, name);
  else if (object instanceof Tuple) method = sequenceMethod(object.items, name);
  if (method) return method;
  if (MUTATING[type]?.includes(name)) {
    return new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`);
  }
  if (FIELDS[type]?.includes(name))
    throw new TemplateError(`'${name}' of a '${type}' object is not supported`);
  return undefined;
}

/** `object[key]` in Python's sense; `undefined` where there is no such item. */
function pythonItem(object: Value, key: Value): Value | undefined {
  if (object instanceof Dict) {
    if (Array.isArray(key) || key instanceof Dict || key instanceof Undefined) return undefined;
    return object.get(key);
  }
  const at = typeof key === 'bigint' || typeof key === 'boolean' ? Number(key) : undefined;
  if (at === undefined) return undefined;
  if (object instanceof Markup)
    throw new TemplateError('characters of text that is marked as safe or escaped are not supported');
  const items =
    typeof object === 'string' || object instanceof Range
      ? Array.from<Value>(object)
      : object instanceof Tuple
        ? object.items
        : Array.isArray(object)
          ? object
          : [];
  return items.at(at);
}

function missing(object: Value, name: Value): Undefined {
  const type = object === null ? 'None' : `${typeName(object)} object`;
  return new Undefined(
    `'${type}' has no ${typeof name === 'string' ? `attribute '${name}'` : `element ${str(name)}`}`,
  );
}

/** `object.name`: a method or attribute, or else the item. */
export function getAttribute(object: Value, name: string): Value {
  defined(object);
  return orElse(pythonAttribute(object, name), () =>
    orElse(pythonItem(object, name), () => missing(object, name)),
  );
}

/** `object[key]`: the item, or else the method or attribute. */
export function getItem(object: Value, key: Value): Value {
  defined(object);
  const item = pythonItem(object, key);
  if (item !== undefined) return item;
  const attribute = typeof key === 'string' ? pythonAttribute(object, key) : undefined;
  return orElse(attribute, () => missing(object, key));
}

/** `object[start:stop:step]` */
export function slice(object: Value, bounds: readonly Value[]): Value {
  if (typeof object === 'string') {
    const characters = Array.from(object);
    return sliceIndices(characters.length, bounds)
      .map((i) => characters[i]!)
      .join('');
  }
  const pick = (items: readonly Value[]) => sliceIndices(items.length, bounds).map((i) => items[i]!);
  if (Array.isArray(object)) return pick(object);
  if (object instanceof Tuple) return new Tuple(pick(object.items));
  // jinja2 throws too, except for what it computes before rendering.
  throw new TemplateError(`slices of a '${typeName(defined(object))}' object are not supported`);
}

/** `item in container` */
export function contains(container: Value, item: Value): boolean {
  if (typeof container === 'string') {
    if (typeof item !== 'string') {
      throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    return container.includes(item);
  }
  if (container instanceof Dict) return container.get(item) !== undefined;
  for (const candidate of iterate(container)) if (candidate === item || equal(candidate, item)) return true;
  return false;
}

/** One comparison of a chain. */
export function compareBy(operator: Comparison, a: Value, b: Value): boolean {
  switch (operator) {
    case '==':
      return equal(a, b);
    case '!=':
      return !equal(a, b);
    case 'in':
      return contains(b, a);
    case 'not in':
      return !contains(b, a);
    case '<':
      return compare(a, b) < 0;
    case '<=':
      return compare(a, b) <= 0;
    case '>':
      return compare(a, b) > 0;
    case '>=':
      return compare(a, b) >= 0;
  }
}

function finite(value: number): number {
  if (!Number.isFinite(value)) throw new TemplateError('float result out of range is not supported');
  return value;
}

function floorDivide(a: number, b: number): number {
  const quotient = (a - floatModulo(a, b)) / b;
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor === 0 ? 0 * (a / b) : floor;
}

function floatModulo(a: number, b: number): number {
  const remainder = a % b;
  if (remainder === 0) return b < 0 ? -0 : 0;
  return remainder < 0 !== b < 0 ? remainder + b : remainder;
}

function integerArithmetic(operator: BinaryOperator, a: bigint, b: bigint): Value {
  if ((operator === '/' || operator === '//' || operator === '%') && b === 0n)
    throw new TemplateError('division by zero');
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      if (BigInt(Number(a)) !== a || BigInt(Number(b)) !== b)
        throw new TemplateError('dividing such large integers is not supported');
      return Number(a) / Number(b);
    case '//':
      return a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n);
    case '%': {
      const remainder = a % b;
      return remainder !== 0n && remainder < 0n !== b < 0n ? remainder + b : remainder;
    }
    case '**':
      if (b > 10_000n) throw new TemplateError(`an exponent of ${b} is not supported`);
      if (b < 0n) return floatArithmetic('**', Number(a), Number(b));
      return a ** b;
  }
}

function floatArithmetic(operator: BinaryOperator, a: number, b: number): Value {
  if ((operator === '/' || operator === '//' || operator === '%') && b === 0)
    throw new TemplateError('float division by zero');
  switch (operator) {
    case '+':
      return finite(a + b);
    case '-':
      return finite(a - b);
    case '*':
      return finite(a * b);
    case '/':
      return finite(a / b);
    case '//':
      return finite(floorDivide(a, b));
    case '%':
      return finite(floatModulo(a, b));
    case '**':
      // V8's power is not C's in the last digit, except where the result is exact.
      if (!Number.isInteger(b) || Math.abs(b) > 3)
        throw new TemplateError('powers of floats are not supported');
      return finite(b < 0 ? 1 / power(a, -b) : power(a, b));
  }
}

function power(a: number, b: number): number {
  const result = b === 0 ? 1 : b === 1 ? a : b === 2 ? a * a : a * a * a;
  if (!Number.isInteger(result) || !Number.isSafeInteger(result))
    throw new TemplateError('powers of floats are not supported');
  return result;
}

function repeat(value: Value, count: number): Value | undefined {
  const times = Math.max(0, count);
  const list = (items: readonly Value[]): Value[] =>
    Array.from({ length: times }, () => items).flatMap((copy) => copy);
  if (typeof value === 'string') return value.repeat(times);
  if (Array.isArray(value)) return list(value);
  return value instanceof Tuple ? new Tuple(list(value.items)) : undefined;
}

/** Arithmetic, and what `+`, `*` and `%` do to strings and lists. */
export function arithmetic(operator: BinaryOperator, left: Value, right: Value): Value {
  // A string's % formats whatever is on its right.
  if (operator === '%' && typeof left === 'string') return formatPercent(left, right);
  const [a, b] = [numeric(defined(left)), numeric(defined(right))];
  if (typeof a === 'bigint' && typeof b === 'bigint') return integerArithmetic(operator, a, b);
  if (a !== undefined && b !== undefined)
    return floatArithmetic(operator, finite(Number(a)), finite(Number(b)));
  if (operator === '+') {
    if (typeof left === 'string' && typeof right === 'string') return left + right;
    if (Array.isArray(left) && Array.isArray(right)) return [...left, ...right];
    if (left instanceof Tuple && right instanceof Tuple) return new Tuple([...left.items, ...right.items]);
    if (left instanceof Markup || right instanceof Markup) {
      throw new TemplateError('adding to text that is marked as safe or escaped is not supported');
    }
  }
  if (operator === '*') {
    const repeated =
      typeof b === 'bigint'
        ? repeat(left, integer(right))
        : typeof a === 'bigint'
          ? repeat(right, integer(left))
          : undefined;
    if (repeated !== undefined) return repeated;
  }
  throw new TemplateError(
    `unsupported operand types for ${operator}: '${typeName(left)}' and '${typeName(right)}'`,
  );
}
