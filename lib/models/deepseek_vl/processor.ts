import type { RenderedConversation } from '../../data/loss-mask.js';
import { loadChatTemplate } from '../../text/chat-template.js';
import { ChatProcessor, indexPositions, type Positions } from '../chat-processor.js';
import { refuseMedia, type MediaPart } from '../processing.js';
import type { ConversationRecord, ProcessOptions } from '../target.js';
import { addsBos } from './bos.js';
import { loadConfig, type DeepseekVLConfig } from './config.js';
import type { PictureFeature } from './feature.js';
import { originalTemplate } from './original-template.js';
import { loadPicture } from './picture.js';
import { loadProcessorSettings, type ProcessorSettings } from './settings.js';

/** Turns conversations with pictures into samples for DeepSeek-VL. */
export class DeepseekVLProcessor extends ChatProcessor<PictureFeature> {
  readonly config: DeepseekVLConfig;
  readonly settings: ProcessorSettings;
  protected readonly placeholders: readonly string[];
  /** What the tokenizer puts before a text. */
  readonly #start: string;

  /**
   * Reads config, preprocessor configs, tokenizer and, in transformers' layout, chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  constructor(modelDir: string) {
    const config = loadConfig(modelDir);
    super(modelDir, config.text, config.layout === 'original' ? originalTemplate : loadChatTemplate);
    this.config = config;
    this.settings = loadProcessorSettings(modelDir, config);
    this.placeholders = [this.token(config.imageTokenId)];
    this.#start = addsBos(modelDir) ? (this.tokenizer.specialTokens['bos_token'] ?? '') : '';
  }

  protected async load(part: MediaPart): Promise<PictureFeature[]> {
    if (part.type !== 'image') return refuseMedia(part, 'DeepSeek-VL', 'image');
    return [await loadPicture(part.source, this.settings, this.config)];
  }

  /**
   * transformers' template ends a turn only where something follows, so answers at the end are rendered as if another
   * were asked for; its tokenizer begins the text with bos_token, which the template does not print.
   */
  protected override render(record: ConversationRecord, options: ProcessOptions): RenderedConversation {
    const ends = record.messages.at(-1)?.role === 'assistant' && !options.addGenerationPrompt;
    const { text, assistantSpans } = super.render(record, ends ? { ...options, addGenerationPrompt: true } : options);
    const rendered = ends ? text.slice(0, assistantSpans.at(-1)![1]) : text;
    const start = rendered.startsWith(this.#start) ? '' : this.#start;
    return {
      text: start + rendered,
      assistantSpans: assistantSpans.map(([from, to]) => [from + start.length, to + start.length]),
    };
  }

  protected expansions(media: readonly PictureFeature[]): Record<string, string[]> {
    const [placeholder] = this.placeholders as [string];
    return { [placeholder]: media.map(({ tokens }) => placeholder.repeat(tokens)) };
  }

  protected positions(ids: Int32Array): Positions {
    return indexPositions(ids.length);
  }
}
