import { readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readJson, readJsonObject, replaceFile, writeFileAtomic } from '../../lib/hub/files.js';
import { temporaryDirectory } from './temporary.js';

const directory = temporaryDirectory();

describe('writeFileAtomic', () => {
  it('writes text and bytes, over what was there', () => {
    const file = join(directory, 'file');
    writeFileAtomic(file, 'é');
    writeFileAtomic(file, Uint8Array.of(1, 2, 3).subarray(1));
    expect([...readFileSync(file)]).toEqual([2, 3]);
  });

  it('leaves the old file, and nothing else, where the writing fails', () => {
    const file = join(directory, 'old');
    writeFileAtomic(file, 'old');
    const before = readdirSync(directory);
    const failing = () => {
      replaceFile(file, (fd) => {
        writeSync(fd, 'half of the new');
        throw new Error('disk full');
      });
    };
    expect(failing).toThrow('disk full');
    expect(readFileSync(file, 'utf8')).toBe('old');
    expect(readdirSync(directory)).toEqual(before);
  });
});

describe('readJson', () => {
  const file = join(directory, 'config.json');

  it('reads with or without a byte order mark', () => {
    writeFileSync(file, '\uFEFF{"a": [1]}');
    expect(readJson(file)).toEqual({ a: [1] });
  });

  it('names file, line and column', () => {
    writeFileSync(file, '{\n  "a": 1,\n  "b": tru\n}');
    expect(() => readJson(file)).toThrow(`${file}:3:8: invalid JSON: expected a value, received "t"`);
    writeFileSync(file, '');
    expect(() => readJson(file)).toThrow(
      `${file}:1:1: invalid JSON: expected a value, received the end of the text`,
    );
  });

  it('names what is no object', () => {
    writeFileSync(file, '[]');
    expect(() => readJsonObject(file)).toThrow(`${file}: expected a JSON object, received an array`);
  });
});
