/** Where a text stops being JSON, or names a key twice. */
export interface JsonProblem {
  /** In UTF-16 code units. */
  offset: number;
  reason: string;
}

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Length of what a sticky pattern matches at `at`, 0 if it does not. */
function matchLength(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0].length ?? 0;
}

/** Index after the string that opens at `at`, or −1 − (index of what is wrong in it). */
function endOfString(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x22) return i + 1;
    if (code < 0x20) return -1 - i;
    if (code !== 0x5c) continue;
    const length = matchLength(/["\\/bfnrt]|u[0-9a-fA-F]{4}/y, text, i + 1);
    if (length === 0) return -1 - i;
    i += length;
  }
  return -1 - text.length;
}

/**
 * Finds the first thing in a text that strict JSON does not allow, duplicate keys included. `JSON.parse` keeps the
 * last of two equal keys in silence, and its messages often lack a position. Depth is limited by memory alone.
 */
export function findJsonProblem(text: string): JsonProblem | undefined {
  /** Open containers: the keys of an object so far, `null` for an array. */
  const open: (Set<string> | null)[] = [];
  let state: 'value' | 'first value' | 'key' | 'first key' | 'end' = 'value';
  let at = 0;

  const skipSpace = () => (at += matchLength(SPACE, text, at));
  const unexpected = (expected: string, offset = at): JsonProblem => ({
    offset,
    reason:
      offset >= text.length
        ? `expected ${expected}, received the end of the text`
        : `expected ${expected}, received ${JSON.stringify(String.fromCodePoint(text.codePointAt(offset)!))}`,
  });

  for (;;) {
    skipSpace();
    const c = text[at];
    const inObject = open.at(-1) !== null;
    if (state === 'end') {
      if (open.length === 0) return at === text.length ? undefined : unexpected('the end of the text');
      if (c === ',') state = inObject ? 'key' : 'value';
      else if (c === (inObject ? '}' : ']')) open.pop();
      else return unexpected(inObject ? '"," or "}"' : '"," or "]"');
      at++;
    } else if ((state === 'first key' && c === '}') || (state === 'first value' && c === ']')) {
      open.pop();
      state = 'end';
      at++;
    } else if (state === 'key' || state === 'first key') {
      if (c !== '"') return unexpected('a key');
      const end = endOfString(text, at);
      if (end < 0) return unexpected('a string', -1 - end);
      const key = JSON.parse(text.slice(at, end)) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) return { offset: at, reason: `duplicate key ${JSON.stringify(key)}` };
      keys.add(key);
      at = end;
      skipSpace();
      if (text[at] !== ':') return unexpected('":"');
      at++;
      state = 'value';
    } else if (c === '{' || c === '[') {
      open.push(c === '{' ? new Set() : null);
      state = c === '{' ? 'first key' : 'first value';
      at++;
    } else if (c === '"') {
      const end = endOfString(text, at);
      if (end < 0) return unexpected('a string', -1 - end);
      at = end;
      state = 'end';
    } else {
      const length = matchLength(SCALAR, text, at);
      if (length === 0) return unexpected('a value');
      at += length;
      state = 'end';
    }
  }
}

/** 1-based line and column of an offset. */
export function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: offset - lineStart + 1 };
}
