import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCheckpoint, openSafetensors, type Checkpoint } from '../../lib/hub/safetensors.js';
import { writeSafetensors, type ArrayTensor } from '../../lib/hub/safetensors-writer.js';
import { loadWeights, type LoadWeightsOptions, type WeightSpec } from '../../lib/hub/weights.js';
import { native } from '../../lib/native.js';
import { cast, reshape, scope, tensor, transpose } from '../../lib/tensor.js';
import { temporaryDirectory } from './temporary.js';

const directory = temporaryDirectory();
let counter = 0;

/** A new file of the given header and data. */
function fileOf(header: string | object, data: Uint8Array, name = `${counter++}.safetensors`): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = join(directory, name);
  writeFileSync(file, Buffer.concat([length, json, data]));
  return file;
}

function modelDirectory(): string {
  const path = join(directory, `model-${counter++}`);
  mkdirSync(path);
  return path;
}

const float = (shape: number[], ...values: number[]): ArrayTensor => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from(values),
});

let liveTensors = 0;
beforeEach(() => {
  liveTensors = native.memory().liveTensors;
});
afterEach(() => {
  expect(native.memory().liveTensors).toBe(liveTensors);
});

describe('openSafetensors', () => {
  it('reads a file laid out by hand', () => {
    const header = {
      __metadata__: { format: 'pt' },
      b: { dtype: 'BOOL', shape: [2], data_offsets: [4, 6] },
      h: { dtype: 'F16', shape: [1, 2], data_offsets: [0, 4] },
    };
    const file = fileOf(header, Uint8Array.of(0x00, 0x3c, 0x00, 0xc1, 1, 0));
    const checkpoint = openSafetensors(file);
    const dataStart = 8 + JSON.stringify(header).length;
    expect(checkpoint.metadata).toEqual({ format: 'pt' });
    expect(checkpoint.names()).toEqual(['b', 'h']);
    expect(checkpoint.has('c')).toBe(false);
    expect(checkpoint.info('b')).toEqual({
      dtype: 'BOOL',
      shape: [2],
      file,
      offset: dataStart + 4,
      byteLength: 2,
    });
    expect([...checkpoint.readBytes('h')]).toEqual([0x00, 0x3c, 0x00, 0xc1]);
    scope(() => {
      expect(checkpoint.load('h').toTypedArray()).toEqual(Float32Array.of(1, -2.5));
      expect(checkpoint.load('b').toTypedArray()).toEqual(Uint8Array.of(1, 0));
    });
    expect(() => checkpoint.info('c')).toThrow(`${file}: there is no tensor "c"`);
  });

  it('refuses element types that cannot be loaded only when they are asked for', () => {
    const file = fileOf({ a: { dtype: 'F64', shape: [1], data_offsets: [0, 8] } }, new Uint8Array(8));
    const checkpoint = openSafetensors(file);
    expect(() => checkpoint.load('a')).toThrow(`${file}: tensor "a" is F64, which cannot be loaded`);
  });

  it('refuses headers that do not fit the file', () => {
    const file = join(directory, 'short');
    const lengths: [bigint, number, string][] = [
      [0n, 4, 'not a safetensors file: 4 bytes, expected at least 8'],
      [5n, 12, "the header's length is 5 bytes, but the file has 4 after it"],
      [100_000_001n, 12, "the header's length is 100000001 bytes, expected at most 100000000"],
      [2n ** 53n, 12, "the header's length is 9007199254740992 bytes, expected at most 100000000"],
      [0n, 8, 'the header is not a JSON object'],
    ];
    for (const [length, size, message] of lengths) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(length);
      writeFileSync(file, Buffer.concat([bytes, Buffer.alloc(16)]).subarray(0, size));
      expect(() => openSafetensors(file)).toThrow(`${file}: ${message}`);
    }
  });

  it('says so where a file has shrunk since it was opened', () => {
    const file = fileOf({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, new Uint8Array(8));
    const checkpoint = openSafetensors(file);
    truncateSync(file, 60);
    expect(() => checkpoint.readBytes('a')).toThrow(`${file}: the file ends inside "a"`);
    expect(() => checkpoint.load('a')).toThrow(file);
  });

  it('survives any corruption: an error that names the file, or tensors within it', () => {
    const good = fileOf(
      {
        __metadata__: { k: 'v' },
        a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
        b: { dtype: 'I64', shape: [], data_offsets: [8, 16] },
      },
      Uint8Array.from({ length: 16 }, (_, i) => i),
    );
    const bytes = readFileSync(good);
    const file = join(directory, 'corrupt.safetensors');
    const edit = fc.oneof(
      fc.tuple(fc.constant('set'), fc.nat({ max: bytes.length - 1 }), fc.nat({ max: 255 })),
      fc.tuple(fc.constant('cut'), fc.nat({ max: bytes.length }), fc.constant(0)),
      fc.tuple(fc.constant('add'), fc.nat({ max: 9 }), fc.nat({ max: 255 })),
    );
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let changed = Buffer.from(bytes);
        for (const [kind, at, value] of edits) {
          if (kind === 'cut') changed = changed.subarray(0, at);
          else if (kind === 'add') changed = Buffer.concat([changed, Buffer.alloc(at, value)]);
          else if (at < changed.length) changed[at] = value;
        }
        writeFileSync(file, changed);
        let checkpoint: Checkpoint;
        try {
          checkpoint = openSafetensors(file);
        } catch (error) {
          expect((error as Error).message).toContain(file);
          return;
        }
        for (const name of checkpoint.names()) {
          const { offset, byteLength } = checkpoint.info(name);
          expect([...checkpoint.readBytes(name)]).toEqual([...changed.subarray(offset, offset + byteLength)]);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('writeSafetensors', () => {
  it('writes tensors and arrays of every element type, aligned, as they are read back', () => {
    const file = join(directory, 'written.safetensors');
    const f32 = Float32Array.of(1, -2, 3.5, 4, 5, 6);
    scope(() => {
      const weights = tensor(f32, [2, 3]);
      writeSafetensors(
        file,
        {
          flag: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
          ids: { dtype: 'int64', shape: [2], data: BigInt64Array.of(-1n, 2n ** 40n) },
          rows: tensor(Int32Array.of(7, 8), [2]),
          weights,
          transposed: transpose(weights, 0, 1),
          half: cast(weights, 'bfloat16'),
          scalar: reshape(tensor(Float32Array.of(9), [1]), []),
          none: float([0, 4]),
          10: float([1], 10),
        },
        { format: 'pt', note: 'é' },
      );
      const checkpoint = openSafetensors(file);
      const read = (name: string) => {
        const { dtype, shape, offset, byteLength } = checkpoint.info(name);
        const size =
          byteLength /
          Math.max(
            1,
            shape.reduce((a, b) => a * b, 1),
          );
        if (byteLength > 0) expect(offset % size).toBe(0);
        return [dtype, shape, checkpoint.load(name).toTypedArray()];
      };
      expect(checkpoint.metadata).toEqual({ format: 'pt', note: 'é' });
      expect(read('flag')).toEqual(['BOOL', [3], Uint8Array.of(1, 0, 1)]);
      expect(read('ids')).toEqual(['I64', [2], BigInt64Array.of(-1n, 2n ** 40n)]);
      expect(read('rows')).toEqual(['I32', [2], Int32Array.of(7, 8)]);
      expect(read('weights')).toEqual(['F32', [2, 3], f32]);
      expect(read('transposed')).toEqual(['F32', [3, 2], Float32Array.of(1, 4, -2, 5, 3.5, 6)]);
      expect(read('half')).toEqual([
        'BF16',
        [2, 3],
        Uint16Array.from(f32, (value) => new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16),
      ]);
      expect(read('scalar')).toEqual(['F32', [], Float32Array.of(9)]);
      expect(read('none')).toEqual(['F32', [0, 4], new Float32Array(0)]);
      expect(read('10')).toEqual(['F32', [1], Float32Array.of(10)]);
      expect(checkpoint.load('half', 'float32').toTypedArray()).toEqual(f32);
    });
  });

  it('refuses arrays that do not fit, and leaves no file', () => {
    const file = join(directory, 'refused.safetensors');
    const write = (entry: ArrayTensor) => {
      writeSafetensors(file, { a: entry });
    };
    expect(() => {
      write({ dtype: 'float32', shape: [1], data: Int32Array.of(1) });
    }).toThrow('[writeSafetensors] a: expected a Float32Array for float32, received a Int32Array');
    expect(() => {
      write(float([2, 2], 1, 2));
    }).toThrow('[writeSafetensors] a: expected 16 bytes for shape [2, 2], received 8');
    expect(readdirSync(directory).filter((name) => name.includes('refused'))).toEqual([]);
  });
});

describe('openCheckpoint', () => {
  it('opens model.safetensors, or the only other file', () => {
    const model = modelDirectory();
    expect(() => openCheckpoint(model)).toThrow('received no *.safetensors file');
    writeSafetensors(join(model, 'adapter.safetensors'), { a: float([1], 1) });
    expect(openCheckpoint(model).names()).toEqual(['a']);
    writeSafetensors(join(model, 'other.safetensors'), { b: float([1], 1) });
    expect(() => openCheckpoint(model)).toThrow('received adapter.safetensors, other.safetensors');
    writeSafetensors(join(model, 'model.safetensors'), { c: float([1], 1) });
    expect(openCheckpoint(model).names()).toEqual(['c']);
  });

  it('opens shards, those tensors too that the index forgets', () => {
    const model = modelDirectory();
    writeSafetensors(join(model, 'one.safetensors'), {
      a: float([1], 1),
      both: float([1], 10),
      extra: float([1], 5),
    });
    writeSafetensors(join(model, 'two.safetensors'), { b: float([1], 2), both: float([1], 20) });
    const map: Record<string, unknown> = {
      a: 'one.safetensors',
      b: 'two.safetensors',
      both: 'two.safetensors',
    };
    const index = join(model, 'model.safetensors.index.json');
    const open = (weightMap: unknown) => {
      writeFileSync(index, JSON.stringify({ weight_map: weightMap }));
      return openCheckpoint(model);
    };
    const checkpoint = open(map);
    expect(checkpoint.names()).toEqual(['a', 'b', 'both', 'extra']);
    expect(checkpoint.info('both').file).toBe(join(model, 'two.safetensors'));

    expect(() => open({ ...map, c: 'three.safetensors' })).toThrow(
      `${index}: "c" should be in three.safetensors, but ${join(model, 'three.safetensors')} does not exist`,
    );
    expect(() => open({ ...map, c: 'one.safetensors' })).toThrow(
      `${index}: "c" should be in one.safetensors, but ${join(model, 'one.safetensors')} lacks it`,
    );
    expect(() => open({ a: 'one.safetensors', b: 'two.safetensors' })).toThrow(
      `${index}: "both" is both in one.safetensors and in two.safetensors`,
    );
    expect(() => open({ a: '../one.safetensors' })).toThrow(`${index}: expected a file name for "a"`);
    expect(() => open([])).toThrow(`${index}: expected weight_map to be an object, received an array`);
  });
});

describe('loadWeights', () => {
  const file = join(directory, 'weights.safetensors');
  writeSafetensors(file, {
    'model.embed.weight': float([2, 2], 1, 2, 3, 4),
    'visual.proj.weight': float([2], 5, 6),
    'model.rotary.inv_freq': float([1], 0),
    'talker.head.weight': float([1], 0),
    counts: { dtype: 'int64', shape: [1], data: BigInt64Array.of(3n) },
  });
  const rename = [
    ['visual.', 'vision.'],
    ['model.', 'text.'],
  ] as const;
  const spec: Record<string, WeightSpec> = {
    'text.embed.weight': [2, 2],
    'vision.proj.weight': { shape: [2], dtype: 'bfloat16' },
    'text.bias': { shape: [2], optional: true },
    counts: [1],
  };
  const ignore = [/\.inv_freq$/, 'talker.'];
  const load = (changed: Record<string, WeightSpec> = {}, options: LoadWeightsOptions = {}) =>
    loadWeights(openSafetensors(file), { ...spec, ...changed }, { rename, ignore, ...options });

  it('gives weights their own names and element types', () => {
    scope(() => {
      const weights = load();
      expect([...weights].map(([name, weight]) => [name, weight.dtype, weight.shape])).toEqual([
        ['text.embed.weight', 'float32', [2, 2]],
        ['vision.proj.weight', 'bfloat16', [2]],
        ['counts', 'int64', [1]],
      ]);
      expect(weights.get('text.embed.weight')!.toTypedArray()).toEqual(Float32Array.of(1, 2, 3, 4));
    });
    scope(() => {
      expect(load({}, { dtype: 'bfloat16' }).get('text.embed.weight')!.dtype).toBe('bfloat16');
    });
  });

  it('lists everything that does not fit at once', () => {
    const failing = () => load({ 'text.embed.weight': [2, 3], 'text.norm.weight': [2] }, { ignore: [] });
    expect(failing).toThrow(
      [
        `${file}: the weights do not fit the model`,
        '  missing (1):',
        '    text.norm.weight [2]',
        '  unexpected (2):',
        '    model.rotary.inv_freq [1]',
        '    talker.head.weight [1]',
        '  mis-shaped (1):',
        '    model.embed.weight: expected [2, 3], received [2, 2]',
      ].join('\n'),
    );
  });

  it('names weights that are there twice, and types that cannot be loaded', () => {
    const twice = [...rename, ['talker.head', 'text.embed']] as const;
    expect(() => load({}, { rename: twice, ignore: ['model.rotary'] })).toThrow(
      '  under two names (1):\n    text.embed.weight: model.embed.weight and talker.head.weight',
    );
    const f64 = fileOf({ a: { dtype: 'F64', shape: [], data_offsets: [0, 8] } }, new Uint8Array(8));
    expect(() => loadWeights(openSafetensors(f64), { a: [] })).toThrow(
      '  of a type that cannot be loaded (1):\n    a: F64',
    );
  });

  it('keeps a long list short', () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`absent.${i}`, [1]]));
    expect(() => load(many)).toThrow(/missing \(50\):\n( {4}absent.*\n){40} {4}… and 10 more/);
  });
});
