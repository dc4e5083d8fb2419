/**
 * The parts that are used of @huggingface/tokenizers, with types: its own declarations import without
 * file extensions, which TypeScript does not follow in ES modules.
 */
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
}

const libraries = tokenizers as unknown as Libraries;

export const HubTokenizer = libraries.Tokenizer;
