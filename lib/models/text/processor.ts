import { ChatProcessor, indexPositions, type Positions } from '../chat-processor.js';
import { refuseMedia, type MediaPart } from '../processing.js';
import type { MediaFeature } from '../target.js';

/** Turns conversations of text into samples. */
export class TextProcessor extends ChatProcessor<MediaFeature> {
  protected readonly placeholders: readonly string[] = [];

  protected load(part: MediaPart): Promise<never> {
    return refuseMedia(part, this.info.architecture, 'text');
  }

  protected expansions(): Record<string, string[]> {
    return {};
  }

  protected positions(ids: Int32Array): Positions {
    return indexPositions(ids.length);
  }
}
