import type { ContentPart, MediaFeature, Message, Modality } from './target.js';

/** Rounds to the nearest integer, halves to the even one, as Python's `round`. */
export function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

export type MediaPart = Exclude<ContentPart, { type: 'text' }>;

/** Pictures, clips and sounds of a conversation, in order. */
export function mediaParts(messages: readonly Message[]): MediaPart[] {
  return messages.flatMap(({ content }) =>
    typeof content === 'string' ? [] : content.filter((part): part is MediaPart => part.type !== 'text'),
  );
}

/** What a record counts as: video before image before audio before text. */
export function modalityOf(media: readonly MediaFeature[]): Modality {
  const order: Modality[] = ['video', 'image', 'audio'];
  return order.find((kind) => media.some((feature) => feature.kind === kind)) ?? 'text';
}

/** @throws Error that says what the family takes */
export function refuseMedia(part: MediaPart, family: string, expected: string): never {
  throw new Error(`expected ${expected}, received ${part.type}, which ${family} does not take`);
}
