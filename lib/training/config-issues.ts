import type { z } from 'zod';

/** One thing that is wrong with a config. */
export interface ConfigIssue {
  /** Dotted path of the field. */
  key: string;
  path: readonly PropertyKey[];
  message: string;
  /** The key itself is at fault, not its value. */
  unknownKey: boolean;
}

/** A config that cannot be used; the message has one line an issue. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  constructor(
    readonly issues: readonly ConfigIssue[],
    /** Where an issue is: `file:line:column`, or an override. */
    locate?: (issue: ConfigIssue) => string | undefined,
  ) {
    super(
      issues
        .map((issue) => {
          const where = locate?.(issue);
          return `${where === undefined ? '' : `${where} `}${issue.key}: ${issue.message}`;
        })
        .join('\n'),
    );
  }
}

/** Zod's issues in the words that a user of the config knows. */
export function describeIssues(error: z.ZodError, input: unknown, keys: readonly string[]): ConfigIssue[] {
  return error.issues.flatMap((issue): ConfigIssue[] => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((name) => {
        const path = [...issue.path, name];
        const near = suggest(path.map(String).join('.'), keys);
        const hint = near === undefined ? '' : `; did you mean ${near}?`;
        return { key: dotted(path), path, message: `unknown key${hint}`, unknownKey: true };
      });
    }
    const key = issue.path.length === 0 ? 'config' : dotted(issue.path);
    return [
      { key, path: issue.path, message: message(issue, valueAt(input, issue.path)), unknownKey: false },
    ];
  });
}

function message(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'custom') return issue.message;
  if (value === undefined) return 'required';
  const received = `received ${shown(value)}`;
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${issue.expected === 'int' ? 'an integer' : issue.expected}, ${received}`;
    case 'invalid_value':
      return `expected one of ${issue.values.map(String).join(', ')}, ${received}`;
    case 'too_small':
      return `expected ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}${unit(issue.origin)}, ${received}`;
    case 'too_big':
      return `expected ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}${unit(issue.origin)}, ${received}`;
    default:
      return `${issue.message}, ${received}`;
  }
}

function unit(origin: string): string {
  if (origin === 'array') return ' entries';
  return origin === 'string' ? ' characters' : '';
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const key of path) {
    if (value === null || typeof value !== 'object') return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

const dotted = (path: readonly PropertyKey[]): string => path.map(String).join('.');

/** The known key that a mistyped one most likely means: by spelling, or the same name in another group. */
export function suggest(wrong: string, known: readonly string[]): string | undefined {
  const leaf = (key: string): string => key.slice(key.lastIndexOf('.') + 1);
  const simple = (key: string): string => key.toLowerCase().replaceAll(/[_-]/g, '');
  const candidates = new Set(known);
  for (const key of known)
    for (let i = key.indexOf('.'); i > 0; i = key.indexOf('.', i + 1)) candidates.add(key.slice(0, i));
  let best: string | undefined;
  let least = Math.max(2, Math.floor(leaf(wrong).length / 3)) + 1;
  for (const key of candidates) {
    const distance = Math.min(
      editDistance(simple(wrong), simple(key)),
      editDistance(simple(leaf(wrong)), simple(leaf(key))) + 0.5,
    );
    if (distance < least) [best, least] = [key, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(change, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}
