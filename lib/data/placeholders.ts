import type { Span } from './loss-mask.js';

export interface ExpandedText {
  text: string;
  spans: Span[];
}

/**
 * Repeats each media placeholder of a rendered conversation as often as its medium has tokens, and moves spans along.
 *
 * @param spans ascending, none of which begins or ends inside a placeholder
 * @param counts placeholder → number of tokens of each of its occurrences, in order
 * @throws if the text does not hold exactly as many placeholders as there are counts
 */
export function expandPlaceholders(
  text: string,
  spans: readonly Span[],
  counts: Readonly<Record<string, readonly number[]>>,
): ExpandedText {
  const edits: { end: number; token: string; count: number }[] = [];
  for (const [token, tokenCounts] of Object.entries(counts)) {
    let found = 0;
    for (let at = text.indexOf(token); at >= 0; at = text.indexOf(token, at + token.length)) {
      edits.push({ end: at + token.length, token, count: tokenCounts[found] ?? 0 });
      found++;
    }
    if (found !== tokenCounts.length) {
      throw new Error(
        `[expandPlaceholders] expected ${tokenCounts.length} ${token} in the text, received ${found}`,
      );
    }
  }
  edits.sort((a, b) => a.end - b.end);

  let expanded = '';
  let at = 0;
  /** Position after each edit and what is added to positions from there on. */
  const shifts: { from: number; by: number }[] = [];
  for (const { end, token, count } of edits) {
    expanded += text.slice(at, end - token.length) + token.repeat(count);
    at = end;
    shifts.push({ from: end, by: expanded.length - end });
  }
  expanded += text.slice(at);
  const move = (position: number) => position + (shifts.findLast(({ from }) => from <= position)?.by ?? 0);
  return { text: expanded, spans: spans.map(([start, end]) => [move(start), move(end)]) };
}
