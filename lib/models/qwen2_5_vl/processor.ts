import { refusePlaceholders } from '../../data/conversation.js';
import { maskFromSpans, renderConversation } from '../../data/loss-mask.js';
import { expandPlaceholders } from '../../data/placeholders.js';
import { RecordError } from '../../data/record-error.js';
import { native } from '../../native.js';
import { loadChatTemplate, type ChatTemplate } from '../../text/chat-template.js';
import { loadTokenizer, type DecodeOptions, type Encoding, type Tokenizer } from '../../text/tokenizer.js';
import { mediaParts, modalityOf, type MediaPart } from '../processing.js';
import type { ConversationRecord, ProcessOptions, Processor, Sample } from '../target.js';
import { loadConfig, type Qwen2_5VLConfig } from './config.js';
import { loadImage, planImage } from './image.js';
import { loadProcessorSettings, type PixelOptions, type ProcessorSettings } from './processor-config.js';
import type { VisualFeature } from './target.js';
import type { Grid } from './vision-layout.js';
import { loadVideo, planVideo } from './video.js';

export interface Qwen2_5VLProcessorOptions extends PixelOptions {
  /**
   * Where text goes on after a clip: at the largest position so far + 1 (`engines`: SGLang, vLLM, transformers 4; the
   * default), or at the clip's start + max(h, w) (`transformers5`).
   */
  positionRule?: 'engines' | 'transformers5';
}

interface LoadedMedia {
  feature: VisualFeature;
  secondPerGrid?: number;
}

type Kind = VisualFeature['kind'];
type VisualPart = MediaPart & { type: Kind };

const kinds: Kind[] = ['image', 'video'];

function visualParts(record: ConversationRecord): VisualPart[] {
  return mediaParts(record.messages).map((part) => {
    if (part.type === 'audio') throw new Error('expected image or video, received audio, which Qwen2.5-VL does not hear');
    return part;
  });
}

/** Turns conversations with pictures and clips into samples for Qwen2.5-VL. */
export class Qwen2_5VLProcessor implements Processor {
  readonly #placeholders: Record<Kind, string>;

  private constructor(
    readonly config: Qwen2_5VLConfig,
    readonly settings: ProcessorSettings,
    readonly tokenizer: Tokenizer,
    readonly template: ChatTemplate,
    private readonly positionRule: 'engines' | 'transformers5',
  ) {
    this.#placeholders = { image: this.#token(config.imageTokenId), video: this.#token(config.videoTokenId) };
  }

  /**
   * Reads config, preprocessor configs, tokenizer and chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  static create(modelDir: string, options: Qwen2_5VLProcessorOptions = {}): Qwen2_5VLProcessor {
    const config = loadConfig(modelDir);
    const tokenizer = loadTokenizer(modelDir);
    const settings = loadProcessorSettings(modelDir, config.vision, options);
    const template = loadChatTemplate(modelDir, tokenizer);
    return new Qwen2_5VLProcessor(config, settings, tokenizer, template, options.positionRule ?? 'engines');
  }

  /**
   * @throws RecordError `file:line: reason` for media that cannot be read, sound, text that spells a placeholder, or a
   *   template that fails
   */
  async process(record: ConversationRecord, options: ProcessOptions = {}): Promise<Sample> {
    try {
      const loaded: LoadedMedia[] = [];
      for (const part of visualParts(record)) loaded.push(await this.#load(part));
      const media = loaded.map(({ feature }) => feature);
      const { ids, offsets, spans } = this.#encode(record, media, options);
      const { positions, delta } = this.#positions(ids, loaded);
      return {
        id: record.id,
        inputIds: ids,
        lossMask: maskFromSpans(offsets, spans),
        positionIds: positions,
        axes: 3,
        positionDelta: delta,
        media,
        modality: modalityOf(media),
      };
    } catch (error) {
      throw RecordError.at(record.where, error);
    }
  }

  /** Number of tokens that {@link process} would give, from the headers of pictures and clips. */
  async length(record: ConversationRecord, options: ProcessOptions = {}): Promise<number> {
    try {
      const plans: { kind: Kind; tokens: number }[] = [];
      for (const part of visualParts(record)) plans.push(await this.#plan(part));
      return this.#encode(record, plans, options).ids.length;
    } catch (error) {
      throw RecordError.at(record.where, error);
    }
  }

  decode(ids: ArrayLike<number>, options?: DecodeOptions): string {
    return this.tokenizer.decode(ids, options);
  }

  async #load(part: VisualPart): Promise<LoadedMedia> {
    if (part.type === 'video') return loadVideo(part.source, this.settings.video, part.fps);
    return { feature: await loadImage(part.source, this.settings.image) };
  }

  async #plan(part: VisualPart): Promise<{ kind: Kind; tokens: number }> {
    const plan =
      part.type === 'video'
        ? await planVideo(part.source, this.settings.video, part.fps)
        : await planImage(part.source, this.settings.image);
    return { kind: part.type, tokens: plan.tokens };
  }

  /** Text with every placeholder repeated once a token, tokenised; spans are the assistant's. */
  #encode(
    record: ConversationRecord,
    media: readonly { kind: Kind; tokens: number }[],
    options: ProcessOptions,
  ): Encoding & { spans: readonly (readonly [number, number])[] } {
    refusePlaceholders(record, Object.values(this.#placeholders));
    const rendered = renderConversation(this.template, record.messages, {
      tools: record.tools,
      addGenerationPrompt: options.addGenerationPrompt,
    });
    const replacements = kinds.map((kind) => {
      const placeholder = this.#placeholders[kind];
      const ofKind = media.filter((medium) => medium.kind === kind);
      return [placeholder, ofKind.map(({ tokens }) => placeholder.repeat(tokens))];
    });
    const { text, spans } = expandPlaceholders(
      rendered.text,
      rendered.assistantSpans,
      Object.fromEntries(replacements) as Record<string, string[]>,
    );
    const encoding = this.tokenizer.encodeWithOffsets(text);
    const { vocabSize } = this.config.text;
    const unknown = encoding.ids.find((id) => id >= vocabSize);
    if (unknown !== undefined) throw new Error(`expected token ids below vocab_size ${vocabSize}, received ${unknown}`);
    return { ...encoding, spans };
  }

  #positions(ids: Int32Array, media: readonly LoadedMedia[]): { positions: Float32Array; delta: number } {
    const grids = (kind: Kind): Grid[] =>
      media.filter(({ feature }) => feature.kind === kind).map(({ feature }) => feature.grid);
    return native.ropeIndexQwen2_5VL(ids, {
      imageTokenId: this.config.imageTokenId,
      videoTokenId: this.config.videoTokenId,
      mergeSize: this.config.vision.spatialMergeSize,
      tokensPerSecond: this.config.vision.tokensPerSecond,
      imageGrids: Int32Array.from(grids('image').flat()),
      videoGrids: Int32Array.from(grids('video').flat()),
      secondPerGrid: Float64Array.from(media.flatMap(({ secondPerGrid }) => secondPerGrid ?? [])),
      positionRule: this.positionRule,
    });
  }

  #token(id: number): string {
    const token = this.tokenizer.idToToken(id);
    if (token === undefined) throw new Error(`expected the tokenizer to know the media placeholder's id ${id}`);
    return token;
  }
}
