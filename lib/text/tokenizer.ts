import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isObject, readJsonObject } from '../hub/files.js';
import { tokenBytes, utf8WithOffsets } from './byte-level.js';
import { HubTokenizer } from './libraries.js';
import { normalizeNfc, type NormalizedText } from './normalized-text.js';
import { pieceOffsets } from './sentence-piece.js';

/** T tokens of a text. */
export interface Encoding {
  /** [T] */
  ids: Int32Array;
  /** [T, 2] row-major: the range of UTF-16 code units of the text that a token covers, wholly or in part. */
  offsets: Int32Array;
}

export interface DecodeOptions {
  skipSpecialTokens?: boolean;
}

interface AddedToken {
  id: number;
  content: string;
  lstrip?: boolean;
  rstrip?: boolean;
  special?: boolean;
  normalized?: boolean;
}

/** What there is beside tokenizer.json. */
interface TokenizerSettings {
  /** For messages. */
  file: string;
  /** tokenizer_config.json */
  config: Record<string, unknown>;
  /** `eos_token_id` of generation_config.json or config.json. */
  eosTokenIds: number[];
}

interface Section {
  start: number;
  end: number;
  added?: AddedToken;
}

const SPECIAL_TOKENS = [
  'bos_token',
  'eos_token',
  'pad_token',
  'unk_token',
  'sep_token',
  'cls_token',
  'mask_token',
];

function isAddedToken(value: unknown): value is AddedToken {
  return isObject(value) && Number.isSafeInteger(value['id']) && typeof value['content'] === 'string';
}

/** Added tokens of tokenizer.json, and those that only tokenizer_config.json has. */
function addedTokens(json: Record<string, unknown>, settings: TokenizerSettings): AddedToken[] {
  const listed: unknown = json['added_tokens'] ?? [];
  if (!Array.isArray(listed) || !listed.every(isAddedToken)) {
    throw new Error(`${settings.file}: expected added_tokens to be a list of tokens with id and content`);
  }
  const known = new Set(listed.map((token) => token.content));
  const decoder = settings.config['added_tokens_decoder'] ?? {};
  const others = Object.entries(decoder).map(([id, token]) => ({ ...(token as object), id: Number(id) }));
  return [...listed, ...others.filter(isAddedToken).filter((token) => !known.has(token.content))];
}

/** Text of a token as configs write it: a string, or an object with its content. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value['content'] === 'string' ? value['content'] : undefined;
}

/** Pattern for tokens that are cut out of a text before anything else; the longest wins. */
function alternatives(contents: readonly string[]): RegExp | undefined {
  if (contents.length === 0) return undefined;
  const ordered = [...contents].sort((a, b) => b.length - a.length);
  return new RegExp(ordered.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'), 'g');
}

/**
 * The tokenizer of a model directory. Text is tokenised as servers do: as it is, with no token added, and with the
 * text of special tokens becoming those tokens wherever it stands.
 */
export class Tokenizer {
  /** bos_token, eos_token … as tokenizer_config.json names them. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Tokens that can end an assistant's turn: eos_token, and those of the generation config. */
  readonly endOfTurn: readonly string[];
  readonly #hub: HubTokenizer;
  readonly #file: string;
  readonly #addedByContent: ReadonlyMap<string, AddedToken>;
  readonly #splitter: RegExp | undefined;
  readonly #cleanUp: boolean;
  readonly #isByteLevel: boolean;

  /** @param json content of tokenizer.json */
  constructor(json: Record<string, unknown>, settings: TokenizerSettings) {
    const added = addedTokens(json, settings);
    try {
      this.#hub = new HubTokenizer({ normalizer: null, ...json, added_tokens: added }, settings.config);
    } catch (error) {
      throw new Error(`${settings.file}: ${(error as Error).message}`, { cause: error });
    }
    this.#file = settings.file;
    this.#isByteLevel = JSON.stringify([json['pre_tokenizer'], json['decoder']]).includes('"ByteLevel"');
    this.#addedByContent = new Map(added.map((token) => [token.content, token]));
    const hasNormalizer = this.#hub.normalizer !== null;
    const verbatim = added.filter((token) => !(hasNormalizer && (token.normalized ?? !token.special)));
    this.#splitter = alternatives(verbatim.map((token) => token.content));
    this.#cleanUp = settings.config['clean_up_tokenization_spaces'] === true;
    this.specialTokens = Object.fromEntries(
      SPECIAL_TOKENS.map((name) => [name, tokenText(settings.config[name])] as const).filter(
        (entry): entry is [string, string] => entry[1] !== undefined,
      ),
    );
    const eos = [this.specialTokens['eos_token'], ...settings.eosTokenIds.map((id) => this.idToToken(id))];
    this.endOfTurn = [...new Set(eos.filter((token) => token !== undefined))];
  }

  /** Number of ids, added tokens included. The model's `vocab_size` is often larger. */
  get vocabSize(): number {
    return this.#hub.model.vocab.length;
  }

  tokenToId(token: string): number | undefined {
    return this.#addedByContent.get(token)?.id ?? this.#hub.token_to_id(token);
  }

  idToToken(id: number): string | undefined {
    return this.#hub.id_to_token(id);
  }

  /** Ids of a text, [T]. */
  encode(text: string): Int32Array {
    if (text === '') return new Int32Array(0);
    return this.#checkIds(this.#hub.encode(text, { add_special_tokens: false }).ids);
  }

  /**
   * Ids of a text and what each covers. A token that holds part of a character's bytes covers the character.
   *
   * @throws if the tokens do not spell the text, as those of a byte-level or SentencePiece-style BPE do
   */
  encodeWithOffsets(text: string): Encoding {
    if (!this.#isByteLevel) return this.#encodePieces(text);
    const ids: (number | undefined)[] = [];
    const offsets: number[] = [];
    for (const section of this.#split(text)) {
      if (section.added) {
        ids.push(section.added.id);
        offsets.push(section.start, section.end);
      } else if (section.end > section.start) {
        this.#encodeSection(text.slice(section.start, section.end), section.start, ids, offsets);
      }
    }
    return { ids: this.#checkIds(ids), offsets: Int32Array.from(offsets) };
  }

  /** The same for a SentencePiece-style vocabulary, whose tokens depend on where in the text they are. */
  #encodePieces(text: string): Encoding {
    if (text === '') return { ids: new Int32Array(0), offsets: new Int32Array(0) };
    const { ids, tokens } = this.#hub.encode(text, { add_special_tokens: false });
    const offsets: number[] = [];
    for (const { start, end, added } of this.#split(text)) {
      if (end === start) continue;
      const at = offsets.length / 2;
      const own = added
        ? ids[at] === added.id && [0, end - start]
        : pieceOffsets(text.slice(start, end), tokens, at);
      if (!own) {
        throw new Error(
          `${this.#file}: offsets need tokens that spell the text: ${JSON.stringify(tokens[at])} is not what it holds`,
        );
      }
      for (const offset of own) offsets.push(start + offset);
    }
    if (offsets.length !== 2 * ids.length)
      throw new Error(`${this.#file}: the text ends before its tokens do`);
    return { ids: this.#checkIds(ids), offsets: Int32Array.from(offsets) };
  }

  /** Text of ids; ids that are no token (rows that pad the vocabulary) give nothing. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const known = Array.from(ids).filter((id) => this.idToToken(id) !== undefined);
    if (known.length === 0) return '';
    return this.#hub.decode(known, {
      skip_special_tokens: options.skipSpecialTokens ?? false,
      clean_up_tokenization_spaces: this.#cleanUp,
    });
  }

  /** Cuts a text at the added tokens that are matched before normalisation. */
  #split(text: string): Section[] {
    const sections: Section[] = [];
    let at = 0;
    for (const match of this.#splitter ? text.matchAll(this.#splitter) : []) {
      const added = this.#addedByContent.get(match[0])!;
      const end = match.index + match[0].length;
      if (match.index > at) sections.push({ start: at, end: match.index });
      sections.push({ start: match.index, end, added });
      at = end;
    }
    if (at < text.length) sections.push({ start: at, end: text.length });
    sections.forEach((section, i) => {
      const [before, after] = [sections[i - 1], sections[i + 1]];
      if (section.added?.lstrip && before && !before.added) {
        before.end = before.start + text.slice(before.start, before.end).trimEnd().length;
        section.start = before.end;
      }
      if (section.added?.rstrip && after && !after.added) {
        after.start = after.end - text.slice(after.start, after.end).trimStart().length;
        section.end = after.start;
      }
    });
    return sections;
  }

  #normalize(section: string): NormalizedText {
    const aligned = normalizeNfc(section);
    const text = this.#hub.normalizer ? this.#hub.normalizer.normalize(section) : section;
    if (text === aligned.text) return aligned;
    if (text !== section) throw new Error(`${this.#file}: offsets are known for an NFC normalizer only`);
    const start = Int32Array.from(text, (_, i) => i);
    return { text, start, end: start.map((i) => i + 1) };
  }

  #encodeSection(section: string, base: number, ids: (number | undefined)[], offsets: number[]): void {
    const source = this.#normalize(section);
    const utf8 = utf8WithOffsets(source.text);
    const encoded = this.#hub.encode(section, { add_special_tokens: false });
    let at = 0;
    encoded.tokens.forEach((token, i) => {
      const bytes = this.#addedByContent.has(token) ? new TextEncoder().encode(token) : tokenBytes(token);
      if (!bytes?.every((byte, j) => byte === utf8.bytes[at + j])) {
        throw new Error(
          `${this.#file}: offsets need a byte-level tokenizer: ${JSON.stringify(token)} is not what the text holds`,
        );
      }
      const end = at + bytes.length;
      ids.push(encoded.ids[i]);
      offsets.push(base + source.start[utf8.start[at]!]!, base + source.end[utf8.end[end - 1]! - 1]!);
      at = end;
    });
    if (at !== utf8.bytes.length) throw new Error(`${this.#file}: the tokens of a text end before it does`);
  }

  /** A text that the vocabulary cannot express gets no id. */
  #checkIds(ids: readonly (number | undefined)[]): Int32Array {
    if (ids.includes(undefined))
      throw new Error(`${this.#file}: the vocabulary has no token for part of the text`);
    return Int32Array.from(ids as number[]);
  }
}

/** `eos_token_id` of the first file that has one. */
function eosTokenIds(directory: string): number[] {
  for (const name of ['generation_config.json', 'config.json']) {
    const file = join(directory, name);
    if (!existsSync(file)) continue;
    const value = readJsonObject(file)['eos_token_id'];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (ids.every((id) => typeof id === 'number')) return ids;
  }
  return [];
}

/**
 * Loads the tokenizer of a model directory from tokenizer.json, tokenizer_config.json and the generation config.
 *
 * @throws naming the file that is missing or wrong
 */
export function loadTokenizer(directory: string): Tokenizer {
  const file = join(directory, 'tokenizer.json');
  if (!existsSync(file)) throw new Error(`${directory}: there is no tokenizer.json`);
  const configFile = join(directory, 'tokenizer_config.json');
  return new Tokenizer(readJsonObject(file), {
    file,
    config: existsSync(configFile) ? readJsonObject(configFile) : {},
    eosTokenIds: eosTokenIds(directory),
  });
}
