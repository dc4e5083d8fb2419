import { formatBraces } from './string-format.js';
import { bind, integer, sliceIndices, text, type BuiltinParameter } from './signature.js';
import { capitalize, CHARACTER_TESTS, swapCase, title } from './letters.js';
import { PYTHON_SPACE, split, splitLines, strip } from './space.js';
import { Callable, iterate, TemplateError, Tuple, truth, type Keywords, type Value } from './values.js';

type Method = readonly [
  parameters: readonly BuiltinParameter[],
  call: (self: string, ...args: Value[]) => Value,
];

const codePoints = (value: string): number => Array.from(value).length;

/** The part of a text between two indices of code points, and where it begins. */
function window(self: string, start: Value, end: Value): { part: string; start: number } | undefined {
  if (start === null && end === null) return { part: self, start: 0 };
  const characters = Array.from(self);
  const indices = sliceIndices(characters.length, [start, end, null]);
  const at = sliceIndices(characters.length + 1, [start, null, null])[0];
  // Python finds nothing, not even '', from beyond the end on.
  if (at === undefined || (typeof start === 'bigint' && start > characters.length)) return undefined;
  return { part: indices.map((i) => characters[i]!).join(''), start: at };
}

const find =
  (last: boolean, needed: boolean) =>
  (self: string, sub: Value, start: Value, end: Value): Value => {
    const range = window(self, start, end);
    const needle = text(sub);
    const at = range ? (last ? range.part.lastIndexOf(needle) : range.part.indexOf(needle)) : -1;
    if (at < 0 && needed) throw new TemplateError('substring not found');
    return at < 0 ? -1n : BigInt(range!.start + codePoints(range!.part.slice(0, at)));
  };

const affix =
  (matches: (part: string, candidate: string) => boolean) =>
  (self: string, candidates: Value, start: Value, end: Value): Value => {
    const range = window(self, start, end);
    const list = candidates instanceof Tuple ? candidates.items : [candidates];
    return list
      .map((candidate) => text(candidate))
      .some((candidate) => range && matches(range.part, candidate));
  };

const partition =
  (last: boolean) =>
  (self: string, separator: Value): Value => {
    const mark = text(separator);
    if (mark === '') throw new TemplateError('empty separator');
    const at = last ? self.lastIndexOf(mark) : self.indexOf(mark);
    if (at < 0) return new Tuple(last ? ['', '', self] : [self, '', '']);
    return new Tuple([self.slice(0, at), mark, self.slice(at + mark.length)]);
  };

const pad =
  (side: 'left' | 'right' | 'both') =>
  (self: string, width: Value, fill: Value): Value => {
    const character = text(fill);
    if (codePoints(character) !== 1)
      throw new TemplateError('the fill character must be exactly one character long');
    const missing = Math.max(0, integer(width) - codePoints(self));
    const half = Math.floor(missing / 2) + (missing & integer(width) & 1);
    const left = side === 'left' ? missing : side === 'both' ? half : 0;
    return character.repeat(left) + self + character.repeat(missing - left);
  };

/** `str.replace`, at most `count` times if it is not negative. */
export function replace(self: string, from: string, to: string, count: number): string {
  if (count < 0) return self.replaceAll(from, () => to);
  const pieces = from === '' ? ['', ...Array.from(self), ''] : self.split(from);
  const cuts = Math.min(count, pieces.length - 1);
  let result = pieces[0]!;
  for (let i = 1; i < pieces.length; i++) result += (i <= cuts ? to : from) + pieces[i]!;
  return result;
}

const stripped =
  (sides: 'both' | 'left' | 'right') =>
  (self: string, characters: Value): Value =>
    strip(self, characters === null ? null : text(characters), sides);

const splitted =
  (fromRight: boolean) =>
  (self: string, separator: Value, max: Value): Value =>
    split(self, separator === null ? null : text(separator), integer(max), fromRight);

/** `str.join` */
export function join(separator: string, items: Value): string {
  return Array.from(iterate(items), (item, i) => text(item, `item ${i} of join()`)).join(separator);
}

function zfill(self: string, width: Value): Value {
  const sign = /^[+-]/.exec(self)?.[0] ?? '';
  return sign + '0'.repeat(Math.max(0, integer(width) - codePoints(self))) + self.slice(sign.length);
}

const RANGE: readonly BuiltinParameter[] = ['/sub', ['/start', null], ['/end', null]];
const SPLIT: readonly BuiltinParameter[] = [
  ['sep', null],
  ['maxsplit', -1n],
];
const CHARACTERS: readonly BuiltinParameter[] = [['/chars', null]];
const PAD: readonly BuiltinParameter[] = ['/width', ['/fillchar', ' ']];

const METHODS: Readonly<Record<string, Method>> = {
  strip: [CHARACTERS, stripped('both')],
  lstrip: [CHARACTERS, stripped('left')],
  rstrip: [CHARACTERS, stripped('right')],
  split: [SPLIT, splitted(false)],
  rsplit: [SPLIT, splitted(true)],
  splitlines: [[['keepends', false]], (self, keep) => splitLines(self, truth(keep))],
  partition: [['/sep'], partition(false)],
  rpartition: [['/sep'], partition(true)],
  startswith: [RANGE, affix((part, candidate) => part.startsWith(candidate))],
  endswith: [RANGE, affix((part, candidate) => part.endsWith(candidate))],
  find: [RANGE, find(false, false)],
  rfind: [RANGE, find(true, false)],
  index: [RANGE, find(false, true)],
  rindex: [RANGE, find(true, true)],
  count: [
    RANGE,
    (self, sub, start, end) => {
      const part = window(self, start, end)?.part;
      if (part === undefined) return 0n;
      const needle = text(sub);
      return BigInt(needle === '' ? codePoints(part) + 1 : part.split(needle).length - 1);
    },
  ],
  replace: [
    ['/old', '/new', ['/count', -1n]],
    (self, from, to, count) => replace(self, text(from), text(to), integer(count)),
  ],
  removeprefix: [
    ['/prefix'],
    (self, prefix) => (self.startsWith(text(prefix)) ? self.slice(text(prefix).length) : self),
  ],
  removesuffix: [
    ['/suffix'],
    (self, suffix) => (self.endsWith(text(suffix)) ? self.slice(0, self.length - text(suffix).length) : self),
  ],
  join: [['/iterable'], (self, items) => join(self, items)],
  upper: [[], (self) => self.toUpperCase()],
  lower: [[], (self) => self.toLowerCase()],
  title: [[], title],
  capitalize: [[], capitalize],
  swapcase: [[], swapCase],
  isspace: [[], (self) => new RegExp(`^[${PYTHON_SPACE}]+$`).test(self)],
  zfill: [['/width'], zfill],
  center: [PAD, pad('both')],
  ljust: [PAD, pad('right')],
  rjust: [PAD, pad('left')],
  ...Object.fromEntries(
    Object.entries(CHARACTER_TESTS).map(([name, test]): [string, Method] => [name, [[], test]]),
  ),
};

/** The method of a str by this name, if it is supported. */
export function stringMethod(self: string, name: string): Callable | undefined {
  if (name === 'format') {
    return new Callable(name, (args: readonly Value[], keywords: Keywords) =>
      formatBraces(self, args, keywords),
    );
  }
  if (!Object.hasOwn(METHODS, name)) return undefined;
  const [parameters, call] = METHODS[name]!;
  return new Callable(name, (args, keywords) => call(self, ...bind(name, parameters, args, keywords)));
}
