import { bind, integer } from './signature.js';
import { CHARACTER_TESTS } from './letters.js';
import { arithmetic, compareBy } from './operators.js';
import { str } from './format.js';
import type { Comparison } from './syntax.js';
import {
  Callable,
  Dict,
  equal,
  Markup,
  Namespace,
  numeric,
  Stream,
  TemplateError,
  Undefined,
  type Keywords,
  type Value,
} from './values.js';

type Test = (value: Value, ...args: Value[]) => boolean;

const remainder = (value: Value, divisor: bigint): Value => arithmetic('%', value, divisor);

const plain: Readonly<Record<string, Test>> = {
  odd: (value) => equal(remainder(value, 2n), 1n),
  even: (value) => equal(remainder(value, 2n), 0n),
  defined: (value) => !(value instanceof Undefined),
  undefined: (value) => value instanceof Undefined,
  none: (value) => value === null,
  boolean: (value) => typeof value === 'boolean',
  true: (value) => value === true,
  false: (value) => value === false,
  integer: (value) => typeof value === 'bigint',
  float: (value) => typeof value === 'number',
  number: (value) => numeric(value) !== undefined,
  string: (value) => typeof value === 'string' || value instanceof Markup,
  mapping: (value) => value instanceof Dict,
  sequence: (value) => isIterable(value) && !(value instanceof Stream),
  iterable: isIterable,
  callable: (value) => value instanceof Callable || value instanceof Undefined,
  escaped: (value) => value instanceof Markup,
  lower: (value) => CHARACTER_TESTS['islower']!(str(value)),
  upper: (value) => CHARACTER_TESTS['isupper']!(str(value)),
};

function isIterable(value: Value): boolean {
  if (value instanceof Callable) throw new TemplateError('whether this can be iterated is not supported');
  return !(value === null || numeric(value) !== undefined || value instanceof Namespace);
}

function sameAs(value: Value, other: Value): boolean {
  const scalar = (v: Value) => v === null || typeof v === 'boolean';
  if (scalar(value) || scalar(other)) return value === other;
  if (typeof value === 'object' && typeof other === 'object') return value === other;
  if (typeof value !== typeof other) return false;
  throw new TemplateError(`sameas of two ${typeof value}s depends on how Python keeps them`);
}

const comparisons: Readonly<Record<string, Comparison>> = {
  '==': '==',
  eq: '==',
  equalto: '==',
  '!=': '!=',
  ne: '!=',
  '<': '<',
  lt: '<',
  lessthan: '<',
  '<=': '<=',
  le: '<=',
  '>': '>',
  gt: '>',
  greaterthan: '>',
  '>=': '>=',
  ge: '>=',
  in: 'in',
};

const binary: Readonly<Record<string, Test>> = {
  divisibleby: (value, divisor) => equal(remainder(value, BigInt(integer(divisor))), 0n),
  sameas: (value, other) => sameAs(value, other),
  ...Object.fromEntries(
    Object.entries(comparisons).map(([name, operator]): [string, Test] => [
      name,
      (value, other) => compareBy(operator, value, other),
    ]),
  ),
};

/** Applies `value is name(args)`. */
export function applyTest(name: string, value: Value, args: readonly Value[], keywords: Keywords): boolean {
  if (Object.hasOwn(plain, name)) {
    bind(name, [], args, keywords);
    return plain[name]!(value);
  }
  if (!Object.hasOwn(binary, name)) throw new TemplateError(`unsupported test '${name}'`);
  return binary[name]!(value, ...bind(name, ['/other'], args, keywords));
}
