import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { loadTokenizer, Tokenizer } from '../../lib/text/tokenizer.js';
import { conversations, tokenizerDirectory } from './fixtures.js';

const tokenizer = loadTokenizer(tokenizerDirectory);

/** Texts with what tokenizers trip over: special tokens and pieces of them, marks, jamo, surrogates, white space. */
const texts = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '<|im_end|>',
        '<|im_',
        'end|>',
        '<pad-left>',
        '<pad-right>',
        '<note>',
        '<tool_call>',
        ' ',
        '\n',
      ),
      fc.constantFrom(
        'e\u0301',
        '\u0301',
        '\u0323',
        '\u0338',
        'q',
        '\u1112',
        '\u1161',
        '\u11ab',
        '\u0958',
        '\u0344',
        '😀',
      ),
      fc.string({ unit: 'binary', maxLength: 4 }),
      fc.string({ unit: 'grapheme', maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((pieces) => pieces.join(''));

const temporary: string[] = [];

function copyOfFixture(): string {
  const directory = mkdtempSync(join(tmpdir(), 'eyas-tokenizer-'));
  temporary.push(directory);
  cpSync(tokenizerDirectory, directory, { recursive: true });
  return directory;
}

afterEach(() => {
  for (const directory of temporary.splice(0)) rmSync(directory, { recursive: true });
});

describe('Tokenizer', () => {
  it.each(conversations.cases.map((value, i) => [i, value] as const))(
    'gives the ids, offsets and text of transformers (case %i)',
    (_, { text, ids, offsets, decoded, plain }) => {
      const encoding = tokenizer.encodeWithOffsets(text);
      expect([...encoding.ids]).toEqual(ids);
      expect([...tokenizer.encode(text)]).toEqual(ids);
      expect([...encoding.offsets]).toEqual(offsets.flat());
      expect(tokenizer.decode(ids)).toBe(decoded);
      expect(tokenizer.decode(Int32Array.from(ids), { skipSpecialTokens: true })).toBe(plain);
    },
  );

  it('gives ids that do not depend on whether offsets are asked for, and offsets that cover the text in order', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const { ids, offsets } = tokenizer.encodeWithOffsets(text);
        expect([...ids]).toEqual([...tokenizer.encode(text)]);
        let covered = 0;
        for (let i = 0; i < ids.length; i++) {
          const [start, end] = [offsets[2 * i]!, offsets[2 * i + 1]!];
          expect(start).toBeLessThanOrEqual(covered);
          expect(end).toBeGreaterThanOrEqual(covered);
          expect(end).toBeGreaterThan(start);
          covered = end;
        }
        expect(covered).toBe(text.length);
      }),
      { numRuns: 500 },
    );
  });

  it('decodes what it encodes, up to normalisation', () => {
    const plain = fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('<'));
    fc.assert(
      fc.property(plain, (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.normalize('NFC'));
      }),
    );
  });

  it('knows its tokens', () => {
    const id = tokenizer.tokenToId('<|im_end|>')!;
    expect(tokenizer.idToToken(id)).toBe('<|im_end|>');
    expect(tokenizer.tokenToId('no such token')).toBeUndefined();
    expect(tokenizer.vocabSize).toBe(tokenizer.tokenToId('<note>')! + 1);
    expect(tokenizer.specialTokens).toEqual({ eos_token: '<|im_end|>', pad_token: '<|endoftext|>' });
    expect(tokenizer.endOfTurn).toEqual(['<|im_end|>', '<|endoftext|>']);
  });

  it('handles the empty text, and ids of rows that pad the vocabulary', () => {
    expect(tokenizer.encode('')).toEqual(new Int32Array(0));
    expect(tokenizer.encodeWithOffsets('').ids).toHaveLength(0);
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([100_000, tokenizer.tokenToId('a')!])).toBe('a');
  });

  it('reads merges in the old form, and tokens that only tokenizer_config.json adds', () => {
    const directory = copyOfFixture();
    const file = join(directory, 'tokenizer.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as {
      added_tokens: { id: number; content: string }[];
      model: { merges: [string, string][] | string[] };
    };
    json.model.merges = (json.model.merges as [string, string][]).map((pair) => pair.join(' '));
    const moved = json.added_tokens.filter((token) => token.content.startsWith('<|'));
    json.added_tokens = json.added_tokens.filter((token) => !token.content.startsWith('<|'));
    writeFileSync(file, JSON.stringify(json));
    const configFile = join(directory, 'tokenizer_config.json');
    const config = JSON.parse(readFileSync(configFile, 'utf8')) as Record<string, unknown>;
    config['added_tokens_decoder'] = Object.fromEntries(moved.map(({ id, ...token }) => [String(id), token]));
    writeFileSync(configFile, JSON.stringify(config));
    const { text, ids } = conversations.cases[0]!;
    expect([...loadTokenizer(directory).encode(text)]).toEqual(ids);
  });

  it('names the file in errors', () => {
    const directory = copyOfFixture();
    const file = join(directory, 'tokenizer.json');
    writeFileSync(file, '{"model": {}');
    expect(() => loadTokenizer(directory)).toThrow(`${file}:1:13: invalid JSON: expected "," or "}"`);
    writeFileSync(file, '{"model": {"type": "BPE"}}');
    expect(() => loadTokenizer(directory)).toThrow(file);
    writeFileSync(file, '{"added_tokens": [{"id": "x"}]}');
    expect(() => loadTokenizer(directory)).toThrow(`${file}: expected added_tokens to be a list of tokens`);
    rmSync(file);
    expect(() => loadTokenizer(directory)).toThrow(`${directory}: there is no tokenizer.json`);
  });

  it('refuses offsets of tokens that do not spell the text', () => {
    const json = {
      normalizer: { type: 'Lowercase' },
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
      post_processor: null,
      decoder: null,
      model: { type: 'BPE', vocab: { '▁': 0, a: 1 }, merges: [] },
    };
    const settings = { file: 'spm/tokenizer.json', config: {}, eosTokenIds: [] };
    const lowercase = new Tokenizer(json, settings);
    expect([...lowercase.encodeWithOffsets('a').ids]).toEqual([0, 1]);
    expect(() => lowercase.encodeWithOffsets('A')).toThrow(
      'spm/tokenizer.json: offsets need tokens that spell the text',
    );
    const byteLevel = new Tokenizer({ ...json, decoder: { type: 'ByteLevel' } }, settings);
    expect(() => byteLevel.encodeWithOffsets('A')).toThrow('offsets are known for an NFC normalizer only');
  });
});
