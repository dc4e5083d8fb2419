import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../lib/native.js';
import { checks, verifyDraft, type VerifyOptions } from '../../lib/serving/verify.js';
import { copyPair, editJson, settings, writePair, type Json, type SettingName } from './fixture.js';
import { cases, type Pair } from './verify-cases.js';

let root: string;
let made = 0;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'eyas-verify-'));
  for (const name of Object.keys(settings) as SettingName[]) writePair(join(root, name), name);
});

afterAll(() => {
  rmSync(root, { recursive: true });
});

/** A fresh copy of a setting's draft and target. */
function copy(name: SettingName): Pair {
  return copyPair(join(root, name), join(root, `copy-${made++}`));
}

async function failed(options: VerifyOptions): Promise<Map<string, string>> {
  const report = await verifyDraft(options);
  const wrong = report.checks.filter((check) => !check.ok);
  expect(report.ok).toBe(wrong.length === 0);
  return new Map(wrong.map(({ name, message }) => [name, message]));
}

describe('a draft as it was exported', () => {
  it.each(Object.keys(settings) as SettingName[])('passes every check: %s', async (name) => {
    expect(await failed(copy(name))).toEqual(new Map());
  });

  it('passes with the embedding, in its own element type', async () => {
    for (const dtype of ['bfloat16', 'float32'] as const) {
      const dir = join(root, `embedding-${dtype}`);
      writePair(dir, 'sglang', { includeEmbeddings: true, dtype });
      expect(await failed({ draft: join(dir, 'draft'), target: join(dir, 'target') })).toEqual(new Map());
    }
  });

  it('passes with a target whose config is nested instead of flat', async () => {
    const pair = copy('sglang');
    editJson(pair.target, 'config.json', (json) => {
      const { architectures, model_type, vision_config, rope_scaling, rope_theta, ...text } = json;
      for (const key of Object.keys(json)) Reflect.deleteProperty(json, key);
      const { mrope_section } = rope_scaling as Json;
      const rope_parameters = { rope_type: 'default', rope_theta, mrope_section };
      Object.assign(json, {
        architectures,
        model_type,
        vision_config,
        text_config: { ...text, rope_parameters },
      });
    });
    expect(await failed(pair)).toEqual(new Map());
  });

  it('leaves no tensor behind', async () => {
    const { liveTensors } = native.memory();
    await verifyDraft(copy('sglang'));
    expect(native.memory().liveTensors).toBe(liveTensors);
  });
});

describe('a draft with one thing wrong', () => {
  it.each(cases)(
    '$check: $what',
    async ({ check, break: damage, says, also = [], setting = 'sglang', engine }) => {
      const pair = copy(setting);
      damage(pair);
      const wrong = await failed({ ...pair, engine });
      expect(wrong.get(check)).toMatch(says);
      expect([...wrong.keys()].sort()).toEqual([check, ...also].sort());
    },
  );

  it('has a case for every check', () => {
    expect(new Set(cases.map(({ check }) => check))).toEqual(new Set(checks.map(({ name }) => name)));
  });

  it('is checked for both engines where nothing says which', async () => {
    const pair = copy('yarn');
    rmSync(join(pair.draft, 'eyas.json'));
    editJson(
      pair.target,
      'config.json',
      (json) => (json['architectures'] = ['Gemma3ForConditionalGeneration']),
    );
    expect((await failed(pair)).get('engine support')).toMatch(/^vLLM has no EAGLE-3/);
    expect((await failed({ ...pair, engine: 'sglang' })).has('engine support')).toBe(false);
  });
});

/** Every object and array of a JSON value, with its keys. */
function places(value: unknown): { holder: Json; key: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Json;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...places(holder[key])]);
}

describe('a draft with anything wrong', () => {
  const jsonFiles = [
    'draft/config.json',
    'draft/eyas.json',
    'target/config.json',
    'target/generation_config.json',
    'target/tokenizer.json',
  ];

  async function expectReport(pair: Pair): Promise<void> {
    const report = await verifyDraft(pair);
    expect(report.checks.map(({ name }) => name)).toEqual(checks.map(({ name }) => name));
    for (const { message } of report.checks) expect(message).not.toBe('');
  }

  it('gives a report whatever is in the fields of its JSON files', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<SettingName>('sglang', 'custom', 'deepstack'),
        fc.array(
          fc.record({
            file: fc.constantFrom(...jsonFiles),
            place: fc.nat(),
            value: fc.option(fc.jsonValue({ maxDepth: 2 }), { nil: undefined }),
          }),
          { minLength: 1, maxLength: 4 },
        ),
        async (setting, edits) => {
          const dir = join(root, 'json');
          const pair = copyPair(join(root, setting), dir);
          for (const { file, place, value } of edits) {
            editJson(dir, file, (json) => {
              const all = places(json);
              const { holder, key } = all[place % all.length] ?? { holder: json, key: 'added' };
              if (value === undefined) Reflect.deleteProperty(holder, key);
              else holder[key] = value;
            });
          }
          await expectReport(pair);
          rmSync(dir, { recursive: true });
        },
      ),
      { numRuns: 100 },
    );
  });

  it('gives a report whatever is in its files', async () => {
    const files = ['draft', 'target'].flatMap((part) =>
      readdirSync(join(root, 'sglang', part)).map((name) => `${part}/${name}`),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.oneof(
          fc.constant({ kind: 'delete' as const }),
          fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
          fc.record({
            kind: fc.constant('write' as const),
            at: fc.nat(),
            bytes: fc.uint8Array({ minLength: 1, maxLength: 24 }),
          }),
        ),
        async (file, damage) => {
          const dir = join(root, 'bytes');
          const pair = copyPair(join(root, 'sglang'), dir);
          const path = join(dir, file);
          if (damage.kind === 'delete') rmSync(path);
          else {
            const content = readFileSync(path);
            const at = damage.at % content.length;
            if (damage.kind === 'cut') writeFileSync(path, content.subarray(0, at));
            else {
              content.set(damage.bytes.subarray(0, content.length - at), at);
              writeFileSync(path, content);
            }
          }
          await expectReport(pair);
          rmSync(dir, { recursive: true });
        },
      ),
      { numRuns: 100 },
    );
  });

  it('gives a report where there is nothing at all', async () => {
    await expectReport({ draft: join(root, 'nowhere'), target: join(root, 'neither') });
  });
});
