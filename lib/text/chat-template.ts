import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, isObject, readJsonObject } from '../hub/files.js';
import { interpret } from './jinja/interpreter.js';
import { parse } from './jinja/parser.js';
import type { Statement } from './jinja/syntax.js';
import { Dict, toPython } from './jinja/values.js';
import type { Tokenizer } from './tokenizer.js';

export interface RenderOptions {
  tools?: unknown[];
  /** Ends with the assistant's header. */
  addGenerationPrompt?: boolean;
  /** Further variables that the template knows, such as `add_vision_id`. */
  variables?: Record<string, unknown>;
}

export interface ChatTemplateSettings {
  /** For messages. */
  file: string;
  /** bos_token, eos_token …: variables of the template. */
  specialTokens: Readonly<Record<string, string>>;
  /** Tokens one of which closes an assistant's turn. */
  endOfTurn: readonly string[];
}

/** A text, and where parts of it come from. Ranges are in UTF-16 code units. */
export interface RenderedTemplate {
  text: string;
  /** Output of the iterations over messages, in order of their ends; `captured` if it is not in the text as it is. */
  turns: { message: number; start: number; end: number; captured: boolean }[];
  /** Output of `{% generation %}` blocks. */
  generations: { start: number; end: number; captured: boolean }[];
  /** What was printed at once, in order: pieces end where the next begins; `literal` if the template spells it out. */
  pieces: readonly { end: number; literal: boolean }[];
}

/** Form of a message's content that a template prints. */
type ContentForm = 'string' | 'parts' | 'both';

/** Whether some statement of a template, however deep, is a `{% generation %}` block. */
function hasGeneration(node: unknown): boolean {
  if (typeof node !== 'object' || node === null) return false;
  return (node as { type?: unknown }).type === 'generation' || Object.values(node).some(hasGeneration);
}

/** A chat template, rendered as transformers does: jinja2 with `trim_blocks` and `lstrip_blocks`, sandboxed. */
export class ChatTemplate {
  readonly file: string;
  readonly endOfTurn: readonly string[];
  /** Whether the template itself says what the assistant generates, in `{% generation %}` blocks. */
  readonly marksGeneration: boolean;
  readonly #body: readonly Statement[];
  readonly #specialTokens: Readonly<Record<string, string>>;
  #contentForm: ContentForm | undefined;

  /** @throws if the template cannot be parsed or has a tag that is not supported */
  constructor(source: string, settings: ChatTemplateSettings) {
    this.file = settings.file;
    this.endOfTurn = settings.endOfTurn;
    this.#specialTokens = settings.specialTokens;
    try {
      this.#body = parse(source);
    } catch (error) {
      throw new Error(`${this.file}: the chat template cannot be parsed: ${(error as Error).message}`, {
        cause: error,
      });
    }
    this.marksGeneration = hasGeneration(this.#body);
  }

  /** Text of a conversation; see {@link trace}. */
  render(messages: readonly unknown[], options: RenderOptions = {}): string {
    return this.trace(messages, options).text;
  }

  /**
   * Text of a conversation, and what in it comes from where. Messages are in the form that templates expect: content
   * is a string, or parts of type `text`, `image`, `video`, `audio`.
   *
   * @throws with the template's own message where it raises one; and for what would differ from Python's rendering
   */
  trace(messages: readonly unknown[], options: RenderOptions = {}): RenderedTemplate {
    try {
      const values = messages.map(toPython);
      const variables = {
        ...this.#specialTokens,
        ...options.variables,
        tools: options.tools ?? null,
        documents: null,
        add_generation_prompt: options.addGenerationPrompt ?? false,
      };
      const context = new Map(Object.entries(variables).map(([name, value]) => [name, toPython(value)]));
      context.set('messages', values);
      const indices = new Map(
        values.flatMap((value, i) => (value instanceof Dict ? [[value, i] as const] : [])),
      );
      const { output, regions } = interpret(this.#body, context, new Set(indices.keys()));
      const places = regions.map(({ item, place: { start, end, output: own } }) => ({
        message: item && indices.get(item)!,
        start,
        end,
        captured: own !== output,
      }));
      return {
        text: output.text,
        turns: places.flatMap(({ message, ...place }) =>
          message === undefined ? [] : [{ message, ...place }],
        ),
        generations: places.filter(({ message }) => message === undefined),
        pieces: output.pieces,
      };
    } catch (error) {
      throw new Error(`${this.file}: the chat template failed: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /**
   * Which form of a text the template prints: some iterate over parts and lose a string in silence, others print a
   * list of parts as Python would. Found out by trying, as servers do by reading the template.
   */
  get contentForm(): ContentForm {
    this.#contentForm ??= this.#probeContent();
    return this.#contentForm;
  }

  #probeContent(): ContentForm {
    const probe = 'eyas probe';
    const attempt = (content: unknown) => {
      try {
        return this.render([{ role: 'user', content }]);
      } catch {
        return '';
      }
    };
    const [string, parts] = [attempt(probe), attempt([{ type: 'text', text: probe }])];
    if (string === parts || !parts.includes(probe)) return string === parts ? 'both' : 'string';
    return string.includes(probe) ? 'string' : 'parts';
  }
}

/** The `chat_template` of a JSON file: a string, or several by name, of which `default` is taken. */
function templateOf(value: unknown, file: string): string {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) {
    throw new Error(`${file}: expected chat_template to be a string or a list, received ${describe(value)}`);
  }
  const named: unknown = value.find((entry) => isObject(entry) && entry['name'] === 'default');
  if (isObject(named) && typeof named['template'] === 'string') return named['template'];
  throw new Error(`${file}: chat_template has no entry named "default" with a template`);
}

/** A template and where it is from, for messages. */
export interface TemplateSource {
  file: string;
  source: string;
}

function findTemplate(directory: string, otherwise?: TemplateSource): TemplateSource {
  const jinja = join(directory, 'chat_template.jinja');
  if (existsSync(jinja)) return { file: jinja, source: readFileSync(jinja, 'utf8') };
  for (const name of ['chat_template.json', 'tokenizer_config.json']) {
    const file = join(directory, name);
    if (!existsSync(file)) continue;
    const value = readJsonObject(file)['chat_template'];
    if (value !== undefined && value !== null) return { file, source: templateOf(value, file) };
  }
  if (otherwise) return otherwise;
  throw new Error(
    `${directory}: there is no chat template in chat_template.jinja, chat_template.json or tokenizer_config.json`,
  );
}

/**
 * Loads the chat template of a model directory.
 *
 * @param otherwise what is taken where the directory has none
 */
export function loadChatTemplate(
  directory: string,
  tokenizer: Tokenizer,
  otherwise?: TemplateSource,
): ChatTemplate {
  const { file, source } = findTemplate(directory, otherwise);
  return new ChatTemplate(source, {
    file,
    specialTokens: tokenizer.specialTokens,
    endOfTurn: tokenizer.endOfTurn,
  });
}
