import { str } from './format.js';
import { getItem, slice } from './operators.js';
import { filter, integer, type Filter } from './signature.js';
import { applyTest } from './tests.js';
import {
  compare,
  Dict,
  equal,
  iterate,
  orElse,
  Stream,
  TemplateError,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** Gets `a.b.0` of a value; without a path, the value itself. */
export function getter(path: Value, fallback: Value = null): (item: Value) => Value {
  if (path === null) return (item) => item;
  const parts: Value[] =
    typeof path === 'string'
      ? path.split('.').map((part) => (/^\d+$/.test(part) ? BigInt(part) : part))
      : [path];
  return (item) =>
    parts.reduce<Value>((value, part) => {
      const found = getItem(value, part);
      return found instanceof Undefined && fallback !== null ? fallback : found;
    }, item);
}

/** What items are ordered and grouped by. */
function keyOf(attribute: Value, caseSensitive: Value): (item: Value) => Value {
  if (typeof attribute === 'string' && attribute.includes(','))
    throw new TemplateError('several attributes are not supported');
  const get = getter(attribute);
  return (item) => {
    const key = get(item);
    return typeof key === 'string' && !truth(caseSensitive) ? key.toLowerCase() : key;
  };
}

function sorted(items: Iterable<Value>, key: (item: Value) => Value, reverse: boolean): Value[] {
  const keyed = Array.from(items, (item) => ({ item, key: key(item) }));
  const order = (a: Value, b: Value) => {
    const result = compare(a, b);
    if (Number.isNaN(result)) throw new TemplateError('sorting values without an order is not supported');
    return result;
  };
  return keyed.sort((a, b) => (reverse ? order(b.key, a.key) : order(a.key, b.key))).map(({ item }) => item);
}

const extreme = (name: string, sign: number): Filter =>
  filter(
    name,
    [
      ['case_sensitive', false],
      ['attribute', null],
    ],
    (value, caseSensitive, attribute) => {
      const key = keyOf(attribute, caseSensitive);
      let best: Value | undefined;
      for (const item of iterate(value)) {
        if (best === undefined || sign * compare(key(item), key(best)) > 0) best = item;
      }
      return orElse(best, () => new Undefined('No aggregated item, sequence was empty.'));
    },
  );

/** `select`, `reject` and their forms with an attribute. */
const selecting =
  (name: string, keep: boolean, byAttribute: boolean): Filter =>
  (value, args, keywords) => {
    if (byAttribute && args.length === 0) throw new TemplateError(`${name} needs an attribute`);
    const get = byAttribute ? getter(args[0]!) : (item: Value) => item;
    const [test, ...rest] = byAttribute ? args.slice(1) : args;
    const passes = (item: Value) =>
      test === undefined ? truth(item) : applyTest(str(test), item, rest, keywords);
    return new Stream(
      (function* () {
        if (truth(value)) for (const item of iterate(value)) if (passes(get(item)) === keep) yield item;
      })(),
    );
  };

function* unique(value: Value, caseSensitive: Value, attribute: Value): Generator<Value> {
  const key = keyOf(attribute, caseSensitive);
  const seen = new Dict();
  for (const item of iterate(value)) {
    if (seen.get(key(item)) !== undefined) continue;
    seen.set(key(item), true);
    yield item;
  }
}

function* batch(value: Value, size: number, fill: Value): Generator<Value> {
  let items: Value[] = [];
  for (const item of iterate(value)) {
    if (items.length === size) {
      yield items;
      items = [];
    }
    items.push(item);
  }
  if (items.length === 0) return;
  while (fill !== null && items.length < size) items.push(fill);
  yield items;
}

function groupBy(value: Value, attribute: Value, fallback: Value, caseSensitive: Value): Value {
  const key = keyOf(attribute, caseSensitive);
  const withDefault = getter(attribute, fallback);
  const group = (item: Value) => {
    const found = withDefault(item);
    return fallback !== null && found === fallback ? found : key(item);
  };
  const groups: [Value, Value[]][] = [];
  for (const item of sorted(iterate(value), group, false)) {
    const last = groups.at(-1);
    if (last && equal(last[0], group(item))) last[1].push(item);
    else groups.push([group(item), [item]]);
  }
  // The group is named as its first item spells it.
  return groups.map(([, items]) => new Tuple([withDefault(items[0]!), items]));
}

function reversed(value: Value): Value {
  if (typeof value === 'string') return slice(value, [null, null, -1n]);
  return new Stream([...iterate(value)].reverse().values());
}

function last(value: Value): Value {
  if (value instanceof Stream && !value.view)
    throw new TemplateError(`'${typeName(value)}' object is not reversible`);
  return orElse([...iterate(value)].at(-1), () => new Undefined('No last item, sequence was empty.'));
}

function first(value: Value): Value {
  for (const item of iterate(value)) return item;
  return new Undefined('No first item, sequence was empty.');
}

const SORTING = [
  ['case_sensitive', false],
  ['attribute', null],
] as const;

/** Filters of sequences and dicts. */
export const LIST_FILTERS: Readonly<Record<string, Filter>> = {
  list: filter('list', [], (value) => [...iterate(value)]),
  first: filter('first', [], first),
  last: filter('last', [], last),
  reverse: filter('reverse', [], reversed),
  join: filter(
    'join',
    [
      ['d', ''],
      ['attribute', null],
    ],
    (value, separator, attribute) =>
      Array.from(iterate(value), (item) => str(getter(attribute)(item))).join(str(separator)),
  ),
  sort: filter('sort', [['reverse', false], ...SORTING], (value, reverse, caseSensitive, attribute) =>
    sorted(iterate(value), keyOf(attribute, caseSensitive), truth(reverse)),
  ),
  min: extreme('min', -1),
  max: extreme('max', 1),
  unique: filter(
    'unique',
    SORTING,
    (value, caseSensitive, attribute) => new Stream(unique(value, caseSensitive, attribute)),
  ),
  select: selecting('select', true, false),
  reject: selecting('reject', false, false),
  selectattr: selecting('selectattr', true, true),
  rejectattr: selecting('rejectattr', false, true),
  batch: filter(
    'batch',
    ['linecount', ['fill_with', null]],
    (value, size, fill) => new Stream(batch(value, integer(size), fill)),
  ),
  groupby: filter(
    'groupby',
    ['attribute', ['default', null], ['case_sensitive', false]],
    (value, attribute, fallback, cs) => groupBy(value, attribute, fallback, cs),
  ),
  dictsort: filter(
    'dictsort',
    [
      ['case_sensitive', false],
      ['by', 'key'],
      ['reverse', false],
    ],
    (value, cs, by, reverse) => {
      if (!(value instanceof Dict)) throw new TemplateError(`a ${typeName(value)} has no items to sort`);
      if (by !== 'key' && by !== 'value')
        throw new TemplateError('You can only sort by either "key" or "value"');
      const key = keyOf(by === 'key' ? 0n : 1n, cs);
      return sorted(
        [...value.entries()].map((pair) => new Tuple(pair)),
        key,
        truth(reverse),
      );
    },
  ),
};
