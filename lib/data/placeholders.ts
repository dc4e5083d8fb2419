import type { Span } from './loss-mask.js';

export interface ExpandedText {
  text: string;
  spans: Span[];
}

/**
 * Puts what each medium of a rendered conversation becomes in the place of its placeholder, and moves spans along. A
 * placeholder may be several tokens (`<|vision_start|><|video_pad|><|vision_end|>`); what replaces it is not searched
 * again.
 *
 * @param spans ascending, none of which begins or ends inside a placeholder
 * @param replacements placeholder → what its occurrences become, in order
 * @throws if the text does not hold exactly as many placeholders as there are replacements, placeholders overlap, or a
 *   span begins or ends inside one
 */
export function expandPlaceholders(
  text: string,
  spans: readonly Span[],
  replacements: Readonly<Record<string, readonly string[]>>,
): ExpandedText {
  const edits: { start: number; end: number; by: string }[] = [];
  for (const [placeholder, texts] of Object.entries(replacements)) {
    let found = 0;
    for (
      let at = text.indexOf(placeholder);
      at >= 0;
      at = text.indexOf(placeholder, at + placeholder.length)
    ) {
      edits.push({ start: at, end: at + placeholder.length, by: texts[found] ?? '' });
      found++;
    }
    if (found !== texts.length) {
      throw new Error(
        `[expandPlaceholders] expected ${texts.length} ${placeholder} in the text, received ${found}`,
      );
    }
  }
  edits.sort((a, b) => a.start - b.start);

  let expanded = '';
  let at = 0;
  /** Ranges that changed, and what is added to positions from their end on. */
  const shifts: { start: number; end: number; by: number }[] = [];
  for (const { start, end, by } of edits) {
    if (start < at) {
      throw new Error(
        `[expandPlaceholders] expected placeholders apart from each other, received overlap at ${start}`,
      );
    }
    expanded += text.slice(at, start) + by;
    at = end;
    shifts.push({ start, end, by: expanded.length - end });
  }
  expanded += text.slice(at);
  const move = (position: number) => {
    const inside = shifts.find(({ start, end }) => start < position && position < end);
    if (inside) {
      throw new Error(
        `[expandPlaceholders] expected spans around placeholders, received an end at ${position} inside ` +
          text.slice(inside.start, inside.end),
      );
    }
    return position + (shifts.findLast(({ end }) => end <= position)?.by ?? 0);
  };
  return { text: expanded, spans: spans.map(([start, end]) => [move(start), move(end)]) };
}
