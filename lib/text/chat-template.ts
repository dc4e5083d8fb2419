import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { describe, isObject, readJsonObject } from '../hub/files.js';
import { misrenderedConstructs } from './template-check.js';
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

/** A chat template, rendered as transformers does (`trim_blocks`, `lstrip_blocks`). */
export class ChatTemplate {
  readonly file: string;
  readonly endOfTurn: readonly string[];
  readonly #template: Template;
  readonly #specialTokens: Readonly<Record<string, string>>;

  /** @throws if the template has a construct that would be rendered wrongly, or cannot be parsed */
  constructor(source: string, settings: ChatTemplateSettings) {
    this.file = settings.file;
    this.endOfTurn = settings.endOfTurn;
    this.#specialTokens = settings.specialTokens;
    const text = source.replace(/\r\n?/g, '\n'); // as Jinja2 does
    let problems: string[];
    try {
      problems = misrenderedConstructs(text);
      this.#template = new Template(text);
    } catch (error) {
      throw new Error(`${this.file}: the chat template cannot be parsed: ${(error as Error).message}`, {
        cause: error,
      });
    }
    if (problems.length > 0) {
      throw new Error(
        `${this.file}: the chat template uses ${problems.join(', ')}, which cannot be rendered faithfully`,
      );
    }
  }

  /**
   * Text of a conversation. Messages are in the form that templates expect: content is a string, or parts of type
   * `text`, `image`, `video`, `audio`.
   *
   * @throws with the template's own message where it raises one
   */
  render(messages: readonly unknown[], options: RenderOptions = {}): string {
    try {
      return this.#template.render({
        ...this.#specialTokens,
        ...options.variables,
        messages,
        tools: options.tools ?? null,
        documents: null,
        add_generation_prompt: options.addGenerationPrompt ?? false,
      });
    } catch (error) {
      throw new Error(`${this.file}: the chat template failed: ${(error as Error).message}`, {
        cause: error,
      });
    }
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

function findTemplate(directory: string): { file: string; source: string } {
  const jinja = join(directory, 'chat_template.jinja');
  if (existsSync(jinja)) return { file: jinja, source: readFileSync(jinja, 'utf8') };
  for (const name of ['chat_template.json', 'tokenizer_config.json']) {
    const file = join(directory, name);
    if (!existsSync(file)) continue;
    const value = readJsonObject(file)['chat_template'];
    if (value !== undefined && value !== null) return { file, source: templateOf(value, file) };
  }
  throw new Error(
    `${directory}: there is no chat template in chat_template.jinja, chat_template.json or tokenizer_config.json`,
  );
}

/** Loads the chat template of a model directory. */
export function loadChatTemplate(directory: string, tokenizer: Tokenizer): ChatTemplate {
  const { file, source } = findTemplate(directory);
  return new ChatTemplate(source, {
    file,
    specialTokens: tokenizer.specialTokens,
    endOfTurn: tokenizer.endOfTurn,
  });
}
