import { PYTHON_SPACE } from './space.js';

export type TokenType =
  | 'data'
  | 'block begin'
  | 'block end'
  | 'print begin'
  | 'print end'
  | 'name'
  | 'string'
  | 'number'
  | 'operator'
  | 'end';

export interface Token {
  type: TokenType;
  /** Text of data, name, operator and string (unescaped). */
  text: string;
  /** Of numbers: a bigint for an integer, a number for a float. */
  value?: bigint | number;
  line: number;
}

/** A template that is not valid Jinja, or uses a part of it that is not supported. */
export class TemplateSyntaxError extends Error {
  constructor(message: string, line: number) {
    super(`line ${line}: ${message}`);
    this.name = 'TemplateSyntaxError';
  }
}

const SPACE = `[${PYTHON_SPACE}]`;
const ALL_SPACE = new RegExp(`^${SPACE}+$`);
const TRAILING_SPACE = new RegExp(`${SPACE}+$`);
/** `-` takes the white space before a tag, `+` keeps it. */
const OPENING = new RegExp(
  `\\{%([-+]?)${SPACE}*raw${SPACE}*(?:-%\\}${SPACE}*|%\\})|(?:\\{%|\\{#|\\{\\{)([-+]?)`,
  'g',
);
const END_RAW = new RegExp(`\\{%([-+]?)${SPACE}*endraw${SPACE}*(?:\\+%\\}|-%\\}${SPACE}*|%\\}\\n?)`, 'g');
const END_COMMENT = new RegExp(`\\+#\\}|-#\\}${SPACE}*|#\\}\\n?`, 'g');
const END_BLOCK = new RegExp(`\\+%\\}|-%\\}${SPACE}*|%\\}\\n?`, 'y');
const END_PRINT = new RegExp(`-\\}\\}${SPACE}*|\\}\\}`, 'y');

const TOKENS: readonly (readonly [TokenType | 'space' | 'float', RegExp])[] = [
  ['space', new RegExp(`${SPACE}+`, 'y')],
  ['float', /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy],
  ['number', /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy],
  ['name', /[A-Za-z_][A-Za-z0-9_]*/y],
  ['string', /'[^'\\]*(?:\\[^][^'\\]*)*'|"[^"\\]*(?:\\[^][^"\\]*)*"/y],
  ['operator', /\/\/|\*\*|[=!<>]=|[-+*/%~[\](){}<>=.:|,;]/y],
];

const CLOSERS: ReadonlyMap<string, string> = new Map([
  ['(', ')'],
  ['[', ']'],
  ['{', '}'],
]);

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['\n', ''],
  ['\\', '\\'],
  ["'", "'"],
  ['"', '"'],
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
]);

/** What a string literal stands for: Python's escapes; unknown ones keep their backslash. */
function unescape(source: string, line: number): string {
  return source.replace(
    /\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|[0-7]{1,3}|[^])/g,
    (whole, escape: string) => {
      const known = ESCAPES.get(escape);
      if (known !== undefined) return known;
      const octal = /^[0-7]/.test(escape);
      if (!octal && escape.length === 1) {
        if (/[xuUN]/.test(escape))
          throw new TemplateSyntaxError(`unsupported escape ${whole} in a string`, line);
        return whole;
      }
      const code = octal ? parseInt(escape, 8) : parseInt(escape.slice(1), 16);
      if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
        throw new TemplateSyntaxError(`${whole} in a string is no character`, line);
      }
      return String.fromCodePoint(code);
    },
  );
}

function matchAt(pattern: RegExp, source: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(source);
}

/** Cuts a template into tokens with `trim_blocks` and `lstrip_blocks`, as jinja2's lexer does. */
class Lexer {
  readonly tokens: Token[] = [];
  readonly #source: string;
  #at = 0;
  #counted = 0;
  #line = 1;
  #atLineStart = true;

  constructor(source: string) {
    this.#source = source.replace(/\r\n?/g, '\n').replace(/\n$/, '');
  }

  run(): void {
    for (;;) {
      const opening = matchAt(OPENING, this.#source, this.#at);
      const text = this.#source.slice(this.#at, opening?.index);
      if (!opening) {
        this.#push('data', text);
        this.#push('end', '');
        return;
      }
      const [tag, rawSign, sign] = opening;
      const isPrint = rawSign === undefined && tag.startsWith('{{');
      this.#data(text, rawSign ?? sign!, isPrint);
      this.#advance(opening.index + tag.length);
      if (rawSign !== undefined) this.#raw();
      else if (tag.startsWith('{#')) this.#comment();
      else this.#tag(isPrint);
    }
  }

  #push(type: TokenType, text: string, value?: bigint | number): void {
    const token: Token = { type, text, line: this.#line };
    if (value !== undefined) token.value = value;
    this.tokens.push(token);
  }

  #advance(to: number): void {
    this.#at = to;
    this.#atLineStart = this.#source[to - 1] === '\n';
    for (; this.#counted < to; this.#counted++) if (this.#source[this.#counted] === '\n') this.#line++;
  }

  /** Text before a tag, without the white space that the tag takes. */
  #data(text: string, sign: string, beforePrint: boolean): void {
    let kept = text;
    if (sign === '-') {
      kept = text.replace(TRAILING_SPACE, '');
    } else if (sign !== '+' && !beforePrint) {
      const lineStart = text.lastIndexOf('\n') + 1;
      if ((lineStart > 0 || this.#atLineStart) && ALL_SPACE.test(text.slice(lineStart))) {
        kept = text.slice(0, lineStart);
      }
    }
    if (kept) this.#push('data', kept);
  }

  #raw(): void {
    const end = matchAt(END_RAW, this.#source, this.#at);
    if (!end) throw new TemplateSyntaxError('{% raw %} is not closed', this.#line);
    this.#data(this.#source.slice(this.#at, end.index), end[1]!, false);
    this.#advance(end.index + end[0].length);
  }

  #comment(): void {
    const end = matchAt(END_COMMENT, this.#source, this.#at);
    if (!end) throw new TemplateSyntaxError('{# is not closed', this.#line);
    this.#advance(end.index + end[0].length);
  }

  #tag(isPrint: boolean): void {
    const closers: string[] = [];
    this.#push(isPrint ? 'print begin' : 'block begin', '');
    for (;;) {
      const end = closers.length === 0 && matchAt(isPrint ? END_PRINT : END_BLOCK, this.#source, this.#at);
      if (end) {
        this.#push(isPrint ? 'print end' : 'block end', '');
        this.#advance(this.#at + end[0].length);
        return;
      }
      const text = this.#token();
      const closer = CLOSERS.get(text);
      if (closer) closers.push(closer);
      else if (/^[)\]}]$/.test(text) && closers.pop() !== text) {
        throw new TemplateSyntaxError(`unexpected ${text}`, this.#line);
      }
    }
  }

  /** Reads a token of a tag; returns its text if it is an operator. */
  #token(): string {
    for (const [type, pattern] of TOKENS) {
      const text = matchAt(pattern, this.#source, this.#at)?.[0];
      if (text === undefined) continue;
      const digits = text.replaceAll('_', '');
      if (type === 'float') this.#push('number', text, Number(digits));
      else if (type === 'number') this.#push('number', text, BigInt(digits.toLowerCase()));
      else if (type === 'string') this.#push('string', unescape(text.slice(1, -1), this.#line));
      else if (type !== 'space') this.#push(type, text);
      this.#advance(this.#at + text.length);
      return type === 'operator' ? text : '';
    }
    const received = this.#source[this.#at];
    throw new TemplateSyntaxError(
      received === undefined ? 'a tag is not closed' : `unexpected character ${JSON.stringify(received)}`,
      this.#line,
    );
  }
}

/** Tokens of a template, the last of type `end`. */
export function tokenize(source: string): Token[] {
  const lexer = new Lexer(source);
  lexer.run();
  return lexer.tokens;
}
