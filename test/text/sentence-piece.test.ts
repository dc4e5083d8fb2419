import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Tokenizer } from '../../lib/text/tokenizer.js';

interface Fixture {
  kind: string;
  tokenizer: Record<string, unknown>;
  cases: { text: string; ids: number[]; offsets: number[]; decoded: string }[];
}

/** Made by scripts/fixtures/sentence_piece.py. */
const fixtures = JSON.parse(
  readFileSync(new URL('../fixtures/sentence_piece.json', import.meta.url), 'utf8'),
) as Fixture[];

describe.each(fixtures)('SentencePiece-style tokenizer ($kind)', ({ tokenizer: json, cases }) => {
  const tokenizer = new Tokenizer(json, { file: 'tokenizer.json', config: {}, eosTokenIds: [] });

  it.each(cases)(
    'gives the ids and offsets of the Rust tokenizers: $text',
    ({ text, ids, offsets, decoded }) => {
      const encoding = tokenizer.encodeWithOffsets(text);
      expect([...encoding.ids]).toEqual(ids);
      expect([...tokenizer.encode(text)]).toEqual(ids);
      expect([...encoding.offsets]).toEqual(offsets);
      expect(tokenizer.decode(ids)).toBe(decoded);
    },
  );
});
