import { readFileSync } from 'node:fs';
import {
  isMap,
  isPair,
  isScalar,
  LineCounter,
  parse,
  parseDocument,
  type Document,
  type YAMLMap,
} from 'yaml';
import { configKeys, trainConfigSchema, type TrainConfig } from './config.js';
import { ConfigError, describeIssues, suggest, type ConfigIssue } from './config-issues.js';

/** `optimizer.learningRate=2e-4`, taken apart. */
interface Override {
  text: string;
  path: string[];
  value: unknown;
}

/**
 * Reads a YAML config and applies `key.path=value` overrides in order; values are YAML too.
 * Relative paths in it are relative to the working directory, like those of the command line.
 * @param file YAML file; undefined for a config made of overrides alone
 * @throws ConfigError with one line an issue: `file:line:column key: …` or `override 'key=value' key: …`
 */
export function loadConfig(file: string | undefined, overrides: readonly string[] = []): TrainConfig {
  const lines = new LineCounter();
  const document = file === undefined ? undefined : readDocument(file, lines);
  const input = (document?.toJS() ?? {}) as unknown;
  const parsedOverrides = overrides.map(parseOverride);
  if (isRecord(input)) for (const override of parsedOverrides) assign(input, override);

  const parsed = trainConfigSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new ConfigError(describeIssues(parsed.error, input, configKeys()), (issue) => {
    const override = parsedOverrides.findLast((entry) => touches(entry.path, issue.path));
    if (override) return `override '${override.text}'`;
    if (file === undefined || document === undefined) return undefined;
    const { line, col } = lines.linePos(offsetOf(document, issue));
    return `${file}:${line}:${col}`;
  });
}

function readDocument(file: string, lines: LineCounter): Document {
  const document = parseDocument(readText(file), { lineCounter: lines, prettyErrors: false });
  const error = document.errors[0];
  if (error) {
    const { line, col } = lines.linePos(error.pos[0]);
    const issue = { key: 'YAML', path: [], message: error.message, unknownKey: false };
    throw new ConfigError([issue], () => `${file}:${line}:${col}`);
  }
  return document;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    // Of a directory Node does not say which.
    throw Object.assign(error as Error, { path: file });
  }
}

/** Byte offset of the key (unknown) or value (wrong) that an issue is about, or of its nearest enclosing map. */
function offsetOf(document: Document, issue: ConfigIssue): number {
  for (let length = issue.path.length; length > 0; length--) {
    const path = issue.path.slice(0, length);
    const whole = length === issue.path.length;
    const node = document.getIn(path, true) as { range?: [number, number, number] | null } | undefined;
    if (!whole || issue.unknownKey || !node?.range) {
      const parent = length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
      const key = isMap(parent) ? keyOffset(parent, String(path.at(-1))) : undefined;
      if (key !== undefined) return key;
    }
    if (node?.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

function keyOffset(map: YAMLMap, name: string): number | undefined {
  const pair = map.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === name);
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}

function parseOverride(text: string): Override {
  const refuse = (key: string, message: string): never => {
    throw new ConfigError([{ key, path: [], message, unknownKey: false }], () => `override '${text}'`);
  };
  const split = text.indexOf('=');
  const key = text.slice(0, split).trim();
  if (split < 1 || key === '') refuse('override', 'expected key.path=value');
  const known = configKeys();
  if (!known.includes(key) && !known.some((field) => field.startsWith(`${key}.`))) {
    const near = suggest(key, known);
    refuse(key, `unknown key${near === undefined ? '' : `; did you mean ${near}?`}`);
  }
  let value: unknown;
  try {
    value = parse(text.slice(split + 1));
  } catch (error) {
    refuse(key, (error as Error).message.split('\n')[0]!);
  }
  return { text, path: key.split('.'), value };
}

function assign(config: Record<string, unknown>, { path, value }: Override): void {
  let group = config;
  for (const name of path.slice(0, -1)) {
    const inner = group[name];
    if (isRecord(inner)) group = inner;
    else group = group[name] = {};
  }
  // `key=` gives the default back.
  if (value === null) Reflect.deleteProperty(group, path.at(-1)!);
  else group[path.at(-1)!] = value;
}

const touches = (override: readonly string[], issue: readonly PropertyKey[]): boolean =>
  override.every((name, i) => i >= issue.length || issue[i] === name);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
