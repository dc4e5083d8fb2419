import { parseTemplate } from './libraries.js';

interface Node {
  type: string;
  [field: string]: unknown;
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node)['type'] === 'string';
}

/** Every node of a syntax tree. */
function* walk(value: unknown): Generator<Node> {
  if (isNode(value)) yield value;
  if (value instanceof Map) for (const entry of value) yield* walk(entry);
  else if (typeof value === 'object' && value !== null)
    for (const child of Object.values(value)) yield* walk(child);
}

/** Name that a plain identifier node holds. */
function identifier(value: unknown): string | undefined {
  return isNode(value) && value.type === 'Identifier' ? (value['value'] as string) : undefined;
}

function problemOf(node: Node): string | undefined {
  if (node.type === 'Break') return '{% break %}';
  if (node.type === 'Continue') return '{% continue %}';
  if (node.type === 'FilterExpression' && identifier(node['filter']) === 'title') return '|title';
  if (node.type === 'MemberExpression' && node['computed'] !== true) {
    const name = identifier(node['property']);
    if (name === 'title') return '.title()';
    if (identifier(node['object']) === 'loop' && name?.startsWith('depth')) return `loop.${name}`;
  }
  if (
    node.type === 'CallExpression' &&
    isNode(node['callee']) &&
    node['callee'].type === 'MemberExpression'
  ) {
    const name = identifier(node['callee']['property']);
    if (name && /^[lr]?strip$/.test(name) && (node['args'] as unknown[]).length > 0)
      return `.${name}() with an argument`;
  }
  return undefined;
}

/**
 * Constructs of a chat template that @huggingface/jinja renders differently from Jinja2 without saying so: it would
 * train on a text that no server ever sees. What it cannot parse or run it refuses by itself.
 *
 * - `strip`, `lstrip` and `rstrip` ignore their argument;
 * - `break` and `continue` lose what the iteration has already printed;
 * - `{% generation %}` is removed before parsing;
 * - `title` capitalises after letters outside ASCII; `loop.depth` is undefined.
 *
 * @throws SyntaxError if the template cannot be parsed
 */
export function misrenderedConstructs(source: string): string[] {
  const found = new Set<string>();
  if (/\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}/.test(source)) found.add('{% generation %}');
  for (const node of walk(parseTemplate(source))) {
    const problem = problemOf(node);
    if (problem) found.add(problem);
  }
  return [...found];
}
