import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHeader, parseHeader, type HeaderItem } from '../../lib/hub/safetensors-header.js';

const WIDTHS = { float32: 4, bfloat16: 2, int64: 8, int32: 4, bool: 1 } as const;
type Name = keyof typeof WIDTHS;

const items: fc.Arbitrary<HeaderItem[]> = fc.uniqueArray(
  fc.record({
    name: fc.string({ unit: 'grapheme' }).filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom<Name>('float32', 'bfloat16', 'int64', 'int32', 'bool'),
    shape: fc.array(fc.nat({ max: 5 }), { maxLength: 4 }),
  }),
  { selector: ({ name }) => name, maxLength: 6 },
);

const bytesOf = (list: readonly HeaderItem[]): number =>
  list.reduce((sum, { dtype, shape }) => sum + WIDTHS[dtype] * shape.reduce((a, b) => a * b, 1), 0);

const parse = (header: unknown, dataBytes: number) =>
  parseHeader(
    Buffer.from(typeof header === 'string' ? header : JSON.stringify(header)),
    dataBytes,
    'f.safetensors',
  );

describe('parseHeader', () => {
  it('reads what encodeHeader writes', () => {
    const metadata = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3, noNullPrototype: true });
    fc.assert(
      fc.property(items, metadata, (list, wanted) => {
        const header = encodeHeader(list, wanted);
        expect(header.length % 8).toBe(0);
        expect(Number(header.readBigUInt64LE())).toBe(header.length - 8);
        const parsed = parseHeader(header.subarray(8), bytesOf(list), 'f');
        expect({ ...parsed.metadata }).toEqual({ ...wanted });
        let offset = 0;
        expect([...parsed.tensors.keys()].sort()).toEqual(list.map(({ name }) => name).sort());
        for (const item of list) {
          const entry = parsed.tensors.get(item.name)!;
          expect(entry.shape).toEqual(item.shape);
          expect(entry.begin).toBe(offset);
          offset = entry.end;
        }
      }),
    );
  });

  it('gives a corrupted header an error that names the file, or what lies within the data', () => {
    fc.assert(
      fc.property(
        items,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 }),
        (list, edits) => {
          const header = Buffer.from(encodeHeader(list).subarray(8));
          for (const [at, byte] of edits) if (header.length > 0) header[at % header.length] = byte;
          const size = bytesOf(list);
          let parsed;
          try {
            parsed = parseHeader(header, size, 'f.safetensors');
          } catch (error) {
            expect((error as Error).message).toMatch(/^f\.safetensors: /);
            return;
          }
          let total = 0;
          for (const { shape, begin, end } of parsed.tensors.values()) {
            expect(begin).toBeGreaterThanOrEqual(0);
            expect(end).toBeLessThanOrEqual(size);
            expect(shape.every((length) => Number.isSafeInteger(length) && length >= 0)).toBe(true);
            total += end - begin;
          }
          expect(total).toBe(size);
        },
      ),
      { numRuns: 2000 },
    );
  });

  const f32 = (shape: unknown, begin: unknown, end: unknown) => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  });

  it.each([
    ['[]', 0, 'the header is not a JSON object'],
    [' {}', 0, 'the header is not a JSON object'],
    ['{"a": }', 0, 'invalid header at character 6: expected a value'],
    ['{"a": {}, "a": {}}', 0, 'invalid header at character 10: duplicate key "a"'],
    ['{"a": {"dtype": "F32", "dtype": "F32"}}', 0, 'duplicate key "dtype"'],
    [{ a: 3 }, 0, 'tensor "a": expected an object, received 3'],
    [{ a: { shape: [], data_offsets: [0, 4] } }, 4, 'tensor "a": unknown dtype nothing'],
    [{ a: { ...f32([1], 0, 4), dtype: 'toString' } }, 4, 'tensor "a": unknown dtype "toString"'],
    [{ a: { ...f32([1], 0, 4), layout: 1 } }, 4, 'tensor "a": unknown field "layout"'],
    [{ a: f32([-1], 0, 4) }, 4, 'tensor "a": expected a shape of whole numbers, received [-1]'],
    [{ a: f32([1.5], 0, 6) }, 6, 'expected a shape of whole numbers, received [1.5]'],
    [{ a: f32(3, 0, 4) }, 4, 'expected a shape of whole numbers, received 3'],
    [{ a: f32([2 ** 30, 2 ** 30], 0, 4) }, 4, 'takes no whole number of bytes'],
    [{ a: f32([1], 4, 0) }, 4, 'expected data_offsets [begin, end], received [4,0]'],
    [{ a: f32([1], 0, '4') }, 4, 'expected data_offsets [begin, end]'],
    [{ a: f32([2], 0, 4) }, 4, 'F32 of shape [2] takes 8 bytes, but data_offsets [0, 4] hold 4'],
    [
      { a: { dtype: 'F4', shape: [3], data_offsets: [0, 1] } },
      1,
      'F4 of shape [3] takes no whole number of bytes',
    ],
    [{ a: f32([1], 0, 4), b: f32([1], 2, 6) }, 6, 'tensor "b" overlaps tensor "a" at byte 2 of the data'],
    [{ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12, 'bytes 4 to 8 before tensor "b" belong to no tensor'],
    [{ a: f32([1], 0, 4) }, 3, 'the tensors take 4 bytes, but the file holds 3 after its header'],
    [{ a: f32([1], 0, 4) }, 5, 'the tensors take 4 bytes, but the file holds 5 after its header'],
    [{ __metadata__: [] }, 0, 'expected __metadata__ to be an object, received an array'],
    [{ __metadata__: { a: 1 } }, 0, 'expected __metadata__.a to be a string, received 1'],
  ])('refuses %j', (header, dataBytes, message) => {
    expect(() => parse(header, dataBytes)).toThrow(`f.safetensors: `);
    expect(() => parse(header, dataBytes)).toThrow(message);
  });

  it('refuses what is not UTF-8', () => {
    expect(() => parseHeader(Uint8Array.of(0x7b, 0xff, 0x7d), 0, 'f')).toThrow('f: the header is not UTF-8');
  });

  it('takes empty tensors, names that objects treat specially, and element types that cannot be loaded', () => {
    const header =
      '{"__proto__":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]},"1":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}';
    expect([...parse(header, 8).tensors]).toEqual([
      ['1', { dtype: 'F64', shape: [], begin: 0, end: 8 }],
      ['__proto__', { dtype: 'F8_E4M3', shape: [0], begin: 0, end: 0 }],
    ]);
  });
});

describe('encodeHeader', () => {
  it('refuses a tensor named __metadata__', () => {
    expect(() => encodeHeader([{ name: '__metadata__', dtype: 'bool', shape: [] }])).toThrow(
      'cannot be named',
    );
  });
});
