import { loadChatTemplate } from '../../text/chat-template.js';
import { ChatProcessor, indexPositions, type Positions } from '../chat-processor.js';
import type { ProcessorOptions } from '../family.js';
import { refuseMedia, type MediaPart } from '../processing.js';
import type { ContentPart, Message } from '../target.js';
import { contextToken, loadConfig, tokensPerTile, type InternVLConfig } from './config.js';
import { conversationTemplate } from './conversation.js';
import type { TiledFeature } from './feature.js';
import { loadImage, loadVideo } from './media.js';
import { loadProcessorSettings, type ProcessorSettings } from './settings.js';

type Kind = TiledFeature['kind'];

/** What templates print for media; transformers' newer ones print the token that a tile's features fill. */
const printed: Record<Kind, readonly string[]> = { image: [contextToken, '<image>'], video: ['<video>', '<|video_pad|>'] };

/** Turns conversations with pictures and clips into samples for InternVL. */
export class InternVLProcessor extends ChatProcessor<TiledFeature> {
  protected readonly placeholders: readonly string[];
  readonly #placeholder: Record<Kind, string>;
  /** Whether the template takes messages of text only: media are written into it, as OpenGVLab's code does. */
  readonly #textOnly: boolean;

  private constructor(
    modelDir: string,
    readonly config: InternVLConfig,
    readonly settings: ProcessorSettings,
    private readonly positionRule: 'engines' | 'transformers5',
  ) {
    super(modelDir, config.text, (directory, tokenizer) =>
      loadChatTemplate(directory, tokenizer, conversationTemplate(directory, config.conversation)),
    );
    const context = this.token(config.imageTokenId);
    const found = { image: this.#printedFor('image'), video: this.#printedFor('video') };
    this.#textOnly = found.image === undefined;
    this.#placeholder = { image: found.image ?? '<image>', video: found.video ?? '<video>' };
    this.placeholders = [context, '<img>', '</img>'];
  }

  /**
   * Reads config, preprocessor configs, tokenizer and chat template of a model directory.
   *
   * @throws Error naming the file that is missing or wrong
   */
  static create(modelDir: string, options: ProcessorOptions = {}): InternVLProcessor {
    const config = loadConfig(modelDir);
    const settings = loadProcessorSettings(modelDir, config, options);
    return new InternVLProcessor(modelDir, config, settings, options.positionRule ?? 'engines');
  }

  protected async load(part: MediaPart): Promise<TiledFeature[]> {
    switch (part.type) {
      case 'image':
        return [await loadImage(part.source, this.settings.image, this.config)];
      case 'video':
        return [await loadVideo(part.source, this.settings.video, this.config, this.positionRule, part.fps)];
      case 'audio':
        return refuseMedia(part, 'InternVL', 'image or video');
    }
  }

  /** Media in messages of text come where they stand, each on a line of its own. */
  protected override messages(messages: readonly Message[]): readonly Message[] {
    if (!this.#textOnly) return messages;
    const text = (part: ContentPart): string =>
      part.type === 'text' ? part.text : `${this.#placeholder[part.type as Kind]}\n`;
    return messages.map((message) =>
      typeof message.content === 'string' ? message : { ...message, content: message.content.map(text).join('') },
    );
  }

  protected expansions(media: readonly TiledFeature[]): Record<string, string[]> {
    const image = (tiles: number): string =>
      `<img>${this.token(this.config.imageTokenId).repeat(tiles * tokensPerTile(this.config))}</img>`;
    const clip = (frames: number): string =>
      Array.from({ length: frames }, (_, i) => `Frame${i + 1}: ${image(1)}`).join('\n');
    const each = (kind: Kind, text: (tiles: number) => string): string[] =>
      media.filter((feature) => feature.kind === kind).map(({ tiles }) => text(tiles));
    return { [this.#placeholder.image]: each('image', image), [this.#placeholder.video]: each('video', clip) };
  }

  protected positions(ids: Int32Array): Positions {
    return indexPositions(ids.length);
  }

  /** What the template prints for a medium; undefined where it cannot take one. */
  #printedFor(kind: Kind): string | undefined {
    try {
      const text = this.template.render([{ role: 'user', content: [{ type: kind }] }]);
      return printed[kind].find((candidate) => text.includes(candidate));
    } catch {
      return undefined;
    }
  }
}
