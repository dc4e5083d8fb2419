/**
 * The parts that are used of @huggingface/tokenizers and @huggingface/jinja, with types: their own declarations import
 * without file extensions, which TypeScript does not follow in ES modules.
 */
import * as jinja from '@huggingface/jinja';
import * as tokenizers from '@huggingface/tokenizers';

export interface HubTokenizer {
  readonly normalizer: { normalize(text: string): string } | null;
  readonly model: { readonly vocab: readonly (string | undefined)[] };
  encode(
    text: string,
    options: { add_special_tokens: boolean },
  ): { ids: (number | undefined)[]; tokens: string[] };
  /** `ids` must not be empty. */
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}

interface Libraries {
  Tokenizer: new (json: object, config: object) => HubTokenizer;
  tokenize: (source: string, options: { trim_blocks: boolean; lstrip_blocks: boolean }) => unknown;
  parse: (tokens: unknown) => unknown;
}

const libraries = { ...tokenizers, ...jinja } as unknown as Libraries;

export const HubTokenizer = libraries.Tokenizer;

/** Syntax tree of a Jinja template. */
export const parseTemplate = (source: string): unknown =>
  libraries.parse(libraries.tokenize(source, { trim_blocks: true, lstrip_blocks: true }));
