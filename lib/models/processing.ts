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

/**
 * What `load` gives for each part, in order. Pictures are loaded at the same time, and wait for a thread by themselves;
 * clips and sounds, which run programs of their own, one after another.
 *
 * @throws what the first part in order that cannot be loaded throws
 */
export async function loadParts<Feature>(
  parts: readonly MediaPart[],
  load: (part: MediaPart) => Promise<Feature[]>,
): Promise<Feature[]> {
  const pictures = parts.map((part) => (part.type === 'image' ? load(part) : undefined));
  // Those that are not waited for any more may fail unheard.
  for (const picture of pictures) picture?.catch(() => undefined);
  const features: Feature[] = [];
  for (const [i, part] of parts.entries()) features.push(...(await (pictures[i] ?? load(part))));
  return features;
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
