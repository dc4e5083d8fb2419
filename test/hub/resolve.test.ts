import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolveModel } from '../../lib/hub/resolve.js';
import { temporaryDirectory } from './temporary.js';

const directory = temporaryDirectory();
const cache = join(directory, 'home', 'hub');
const env = { HF_HOME: join(directory, 'home') };

function snapshot(repository: string, commit: string, reference?: string): string {
  const path = join(cache, repository, 'snapshots', commit);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'config.json'), '{}');
  if (reference !== undefined) {
    const file = join(cache, repository, 'refs', reference);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, commit);
  }
  return path;
}

describe('resolveModel', () => {
  const main = snapshot('models--org--name', 'aaaa', 'main');
  const pull = snapshot('models--org--name', 'bbbb', 'refs/pr/1');

  it('takes a directory that holds config.json', () => {
    expect(resolveModel(main)).toBe(main);
    expect(() => resolveModel(directory)).toThrow(
      `${directory} is not a model directory: it holds no config.json`,
    );
  });

  it('finds branch, pull request and commit in the cache', () => {
    expect(resolveModel('org/name', { env })).toBe(main);
    expect(resolveModel('org/name', { env: { HF_HUB_CACHE: cache, HF_HOME: '/nowhere' } })).toBe(main);
    expect(resolveModel('org/name@refs/pr/1', { env })).toBe(pull);
    expect(resolveModel('org/name', { env, revision: 'bbbb' })).toBe(pull);
  });

  it('says where it looked and how to fetch what is missing', () => {
    expect(() => resolveModel('org/other', { env })).toThrow(
      `${join(cache, 'models--org--other', 'snapshots', 'main')} in the Hugging Face cache does not exist.\n` +
        'To fetch it: hf download org/other',
    );
    expect(() => resolveModel('org/name@v2', { env })).toThrow('hf download org/name --revision v2');
    mkdirSync(join(cache, 'models--org--empty', 'snapshots', 'main'), { recursive: true });
    expect(() => resolveModel('org/empty', { env })).toThrow(
      'in the Hugging Face cache holds no config.json',
    );
  });

  it.each(['./missing/dir/x', '../..', 'a/..', 'org/name/more', ''])('refuses %j as an id', (id) => {
    expect(() => resolveModel(id, { env })).toThrow(/is not a hub id|holds no config.json/);
  });

  it.each(['../../x', 'a//b', '', 'x y'])('refuses revision %j', (revision) => {
    expect(() => resolveModel(`org/name@${revision}`, { env })).toThrow('Invalid revision');
  });
});
