/**
 * Python's values as templates see them. A bigint is an int, a number a float, an array a list, a string a str (its
 * characters are code points), `null` is None.
 */
export type Value =
  | null
  | boolean
  | bigint
  | number
  | string
  | Value[]
  | Tuple
  | Dict
  | Range
  | Stream
  | Namespace
  | Markup
  | Undefined
  | Callable;

/** Something that a template does and Python would not do, or that is not supported here. */
export class TemplateError extends Error {}

export class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

/** Text that is HTML already. It may be printed and escaped; what else Python does with it is not supported. */
export class Markup {
  constructor(readonly text: string) {}
}

/** What a name or field that does not exist gives: it prints as nothing, and most uses of it raise `message`. */
export class Undefined {
  constructor(readonly message: string) {}
}

export class Namespace {
  readonly fields = new Map<string, Value>();
}

export type Keywords = ReadonlyMap<string, Value>;

/** A function, macro or method. */
export class Callable {
  constructor(
    readonly name: string,
    readonly call: (args: readonly Value[], keywords: Keywords) => Value,
    /** What it has besides being callable: `loop.index` and the like. */
    readonly attribute: (name: string) => Value = (field) =>
      new Undefined(`'${name}' has no attribute '${field}'`),
  ) {}
}

/** Numbers `start`, `start + step`, … before `stop`. */
export class Range {
  readonly length: number;

  constructor(
    readonly start: bigint,
    readonly stop: bigint,
    readonly step: bigint,
  ) {
    if (step === 0n) throw new TemplateError('range() arg 3 must not be zero');
    const distance = step > 0n ? stop - start : start - stop;
    const stride = step > 0n ? step : -step;
    this.length = distance <= 0n ? 0 : Number((distance + stride - 1n) / stride);
    if (this.length > 100_000) throw new TemplateError(`range of ${this.length} items is too big`);
  }

  *[Symbol.iterator](): Generator<bigint> {
    for (let i = 0; i < this.length; i++) yield this.start + BigInt(i) * this.step;
  }
}

/** An iterator (what most filters give), or a view of a dict (which can be iterated again). */
export class Stream {
  constructor(
    readonly items: Iterable<Value>,
    /** Python's name of a dict's view. */
    readonly view?: 'dict_keys' | 'dict_values' | 'dict_items',
  ) {}
}

/** The same for keys that Python takes as equal: 1, 1.0 and True are one key. */
function hashKey(key: Value): string {
  if (typeof key === 'string') return `s${key}`;
  if (typeof key === 'boolean') return key ? 'n1' : 'n0';
  if (typeof key === 'bigint') return `n${key}`;
  if (typeof key === 'number') return `n${Number.isInteger(key) ? BigInt(key) : key}`;
  if (key === null) return 'None';
  if (key instanceof Tuple) return `t${JSON.stringify(key.items.map(hashKey))}`;
  throw new TemplateError(`unhashable or unsupported key of type '${typeName(key)}'`);
}

/** A dict: keys in the order of their first insertion. */
export class Dict {
  readonly #entries = new Map<string, [Value, Value]>();

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(hashKey(key))?.[1];
  }

  set(key: Value, value: Value): void {
    const hash = hashKey(key);
    const entry = this.#entries.get(hash);
    if (entry) entry[1] = value;
    else this.#entries.set(hash, [key, value]);
  }

  *keys(): Generator<Value> {
    for (const [key] of this.#entries.values()) yield key;
  }

  *values(): Generator<Value> {
    for (const [, value] of this.#entries.values()) yield value;
  }

  entries(): Iterable<readonly [Value, Value]> {
    return this.#entries.values();
  }
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'bigint') return 'int';
  if (typeof value === 'number') return 'float';
  if (typeof value === 'string') return 'str';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Stream) return value.view ?? 'generator';
  if (value instanceof Callable) return 'function';
  return value.constructor.name.replace(/^(Tuple|Dict|Range)$/, (name) => name.toLowerCase());
}

/** @throws for Undefined, as almost every use of it does */
export function defined<T extends Value>(value: T): Exclude<T, Undefined> {
  if (value instanceof Undefined) throw new TemplateError(value.message);
  return value as Exclude<T, Undefined>;
}

/** A value, or another where there is none; None is a value. */
export function orElse(value: Value | undefined, fallback: () => Value): Value {
  return value === undefined ? fallback() : value;
}

/** What `bool(value)` is. */
export function truth(value: Value): boolean {
  if (typeof value === 'boolean') return value;
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === 'bigint') return value !== 0n;
  if (typeof value === 'number') return value !== 0; // NaN is true
  if (typeof value === 'string' || Array.isArray(value) || value instanceof Range) return value.length > 0;
  if (value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Dict) return value.size > 0;
  if (value instanceof Markup) return value.text !== '';
  if (value instanceof Stream && value.view) return !value.items[Symbol.iterator]().next().done;
  return true;
}

/** Items of what can be iterated. */
export function iterate(value: Value): Iterable<Value> {
  if (typeof value === 'string' || Array.isArray(value) || value instanceof Range) return value;
  if (value instanceof Tuple) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof Stream) return value.items;
  if (value instanceof Undefined) return [];
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

/** `len(value)` */
export function length(value: Value): bigint {
  if (typeof value === 'string') return BigInt(codePointLength(value));
  if (Array.isArray(value) || value instanceof Range) return BigInt(value.length);
  if (value instanceof Tuple) return BigInt(value.items.length);
  if (value instanceof Dict) return BigInt(value.size);
  if (value instanceof Undefined) return 0n;
  if (value instanceof Stream && value.view) return BigInt([...value.items].length);
  if (value instanceof Markup) return BigInt(codePointLength(value.text));
  throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
}

function codePointLength(text: string): number {
  return Array.from(text).length;
}

/** An int, float or bool as a number of JavaScript that compares exactly. */
export function numeric(value: Value): bigint | number | undefined {
  if (typeof value === 'boolean') return value ? 1n : 0n;
  return typeof value === 'bigint' || typeof value === 'number' ? value : undefined;
}

function sequence(value: Value): readonly Value[] | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof Tuple ? value.items : undefined;
}

/** `a == b` */
export function equal(a: Value, b: Value): boolean {
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return x == y;
  if (a instanceof Undefined || b instanceof Undefined)
    return a instanceof Undefined && b instanceof Undefined;
  const [s, t] = [sequence(a), sequence(b)];
  if (s && t) {
    return (
      Array.isArray(a) === Array.isArray(b) &&
      s.length === t.length &&
      s.every((item, i) => equal(item, t[i]!))
    );
  }
  if (a instanceof Dict && b instanceof Dict) {
    return (
      a.size === b.size &&
      [...a.entries()].every(([key, value]) => {
        const other = b.get(key);
        return other !== undefined && equal(value, other);
      })
    );
  }
  if (a instanceof Markup || b instanceof Markup) {
    const text = (value: Value) => (value instanceof Markup ? value.text : value);
    return text(a) === text(b);
  }
  if (a instanceof Range && b instanceof Range) return equal([...a], [...b]);
  if (a instanceof Stream && b instanceof Stream && a !== b && a.view && b.view) {
    throw new TemplateError('comparing views of dicts is not supported');
  }
  return a === b;
}

/** Order of two strings by code points. */
export function compareStrings(a: string, b: string): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  // Inside a surrogate pair, the whole character counts.
  if (i > 0 && /[\udc00-\udfff]/.test((a[i] ?? '') + (b[i] ?? '')) && /[\ud800-\udbff]/.test(a[i - 1]!)) i--;
  return (a.codePointAt(i) ?? -1) - (b.codePointAt(i) ?? -1);
}

/**
 * Negative, 0 or positive as a < b, a = b, a > b; NaN where they have no order.
 *
 * @throws for types that have no order
 */
export function compare(a: Value, b: Value): number {
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return x < y ? -1 : x > y ? 1 : x == y ? 0 : NaN;
  if (typeof a === 'string' && typeof b === 'string') return compareStrings(a, b);
  const [s, t] = [sequence(a), sequence(b)];
  if (s && t && Array.isArray(a) === Array.isArray(b)) {
    const i = s.findIndex((item, at) => at >= t.length || !equal(item, t[at]!));
    if (i >= 0 && i < t.length) return compare(s[i]!, t[i]!);
    return s.length - t.length;
  }
  defined(a);
  defined(b);
  throw new TemplateError(`'<' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/**
 * A value of parsed JSON as Python's `json.loads` gives it. A number without a fraction becomes an int, whatever its
 * spelling was; a bigint and a {@link Dict} stay as they are.
 *
 * @throws for an integer whose digits JavaScript has lost
 */
export function toPython(json: unknown): Value {
  if (json === null || typeof json === 'boolean' || typeof json === 'string' || typeof json === 'bigint')
    return json;
  if (json === undefined) return new Undefined('undefined');
  if (json instanceof Dict) return json;
  if (typeof json === 'number') {
    if (!Number.isInteger(json)) return json;
    if (!Number.isSafeInteger(json))
      throw new TemplateError(`the digits of the integer ${json} have been lost`);
    return BigInt(json);
  }
  if (Array.isArray(json)) return json.map(toPython);
  if (typeof json !== 'object') throw new TemplateError(`a ${typeof json} is not JSON`);
  const entries = Object.entries(json).filter(([, value]) => value !== undefined);
  return new Dict(entries.map(([key, value]) => [key, toPython(value)]));
}
