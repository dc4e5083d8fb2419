import { refusePlaceholders } from '../data/conversation.js';
import { maskFromSpans, renderConversation, type RenderedConversation } from '../data/loss-mask.js';
import { expandPlaceholders } from '../data/placeholders.js';
import { RecordError } from '../data/record-error.js';
import { loadChatTemplate, type ChatTemplate } from '../text/chat-template.js';
import { loadTokenizer, type DecodeOptions, type Encoding, type Tokenizer } from '../text/tokenizer.js';
import { ropeType } from './rotary.js';
import { loadParts, mediaParts, modalityOf, type MediaPart } from './processing.js';
import type {
  ConversationRecord,
  MediaFeature,
  Message,
  ProcessOptions,
  Processor,
  Sample,
  TargetInfo,
} from './target.js';

/** Position ids of a prompt. */
export interface Positions {
  /** [axes, T] */
  positions: Float32Array;
  axes: 1 | 3;
  /** The token after the last has position T + delta. */
  delta: number;
}

/** 0, 1, 2 … on one axis. */
export function indexPositions(length: number): Positions {
  return { positions: Float32Array.from({ length }, (_, i) => i), axes: 1, delta: 0 };
}

/**
 * Renders, expands and tokenises conversations; families say what media are and what stands for them in the prompt.
 */
export abstract class ChatProcessor<Feature extends MediaFeature> implements Processor {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;

  /**
   * Reads tokenizer and chat template of a model directory.
   *
   * @param loadTemplate for models that have their template elsewhere than in a file of their own
   * @throws Error naming the file that is missing or wrong
   */
  constructor(
    modelDir: string,
    protected readonly info: TargetInfo,
    loadTemplate: typeof loadChatTemplate = loadChatTemplate,
  ) {
    this.tokenizer = loadTokenizer(modelDir);
    this.template = loadTemplate(modelDir, this.tokenizer);
  }

  /** Decodes a part of a message, or throws for a kind that the family does not take; a clip may give its sound too. */
  protected abstract load(part: MediaPart): Promise<Feature[]>;

  /** Media of a record, in order; families whose media depend on one another override it. */
  protected loadAll(parts: readonly MediaPart[]): Promise<Feature[]> {
    return loadParts(parts, (part) => this.load(part));
  }

  /**
   * Text that the template prints for media, and what its occurrences become in order. Messages must not spell any of
   * these keys, nor {@link placeholders}.
   */
  protected abstract expansions(media: readonly Feature[]): Readonly<Record<string, readonly string[]>>;

  /** Text of the tokens that media fill. */
  protected abstract readonly placeholders: readonly string[];

  /** Messages as the template takes them. */
  protected messages(messages: readonly Message[]): readonly Message[] {
    return messages;
  }

  /** The prompt before media are expanded; families that add to what the template prints override it. */
  protected render({ messages, tools }: ConversationRecord, options: ProcessOptions): RenderedConversation {
    const { addGenerationPrompt } = options;
    return renderConversation(this.template, this.messages(messages), { tools, addGenerationPrompt });
  }

  protected abstract positions(ids: Int32Array, media: readonly Feature[]): Positions;

  /**
   * @throws RecordError `file:line: reason` for media that cannot be read or that the family does not take, text that
   *   spells a placeholder, or a template that fails
   */
  async process(record: ConversationRecord, options: ProcessOptions = {}): Promise<Sample> {
    try {
      const media = await this.loadAll(mediaParts(record.messages));
      const { ids, offsets, spans } = this.#encode(record, media, options);
      const { positions, axes, delta } = this.positions(ids, media);
      return {
        id: record.id,
        inputIds: ids,
        lossMask: maskFromSpans(offsets, spans),
        positionIds: positions,
        axes,
        positionDelta: delta,
        media,
        modality: modalityOf(media),
      };
    } catch (error) {
      throw RecordError.at(record.where, error);
    }
  }

  decode(ids: ArrayLike<number>, options?: DecodeOptions): string {
    return this.tokenizer.decode(ids, options);
  }

  /** Dynamic NTK scaling is the plain rotary embedding up to the trained length, and is not supported beyond it. */
  #checkLength(length: number): void {
    const { rotary, maxPositionEmbeddings } = this.info;
    if (ropeType(rotary) !== 'dynamic' || length <= maxPositionEmbeddings) return;
    throw new Error(
      `expected at most max_position_embeddings ${maxPositionEmbeddings} tokens with dynamic rope scaling, ` +
        `received ${length}`,
    );
  }

  /** Text of a token that the config names by id. */
  protected token(id: number): string {
    const token = this.tokenizer.idToToken(id);
    if (token === undefined) throw new Error(`expected the tokenizer to know the id ${id}, which config.json names`);
    return token;
  }

  /** Text with every placeholder expanded, tokenised; spans are the assistant's. */
  #encode(
    record: ConversationRecord,
    media: readonly Feature[],
    options: ProcessOptions,
  ): Encoding & { spans: readonly (readonly [number, number])[] } {
    const expansions = this.expansions(media);
    refusePlaceholders(record, [...new Set([...this.placeholders, ...Object.keys(expansions)])]);
    const rendered = this.render(record, options);
    const { text, spans } = expandPlaceholders(rendered.text, rendered.assistantSpans, expansions);
    const encoding = this.tokenizer.encodeWithOffsets(text);
    const { vocabSize } = this.info;
    const unknown = encoding.ids.find((id) => id >= vocabSize);
    if (unknown !== undefined) throw new Error(`expected token ids below vocab_size ${vocabSize}, received ${unknown}`);
    this.#checkLength(encoding.ids.length);
    return { ...encoding, spans };
  }
}
