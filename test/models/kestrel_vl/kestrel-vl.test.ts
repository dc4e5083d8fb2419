import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readRecords } from '../../../lib/data/records.js';
import type { Family } from '../../../lib/models/family.js';
import { families, loadProcessor } from '../../../lib/models/registry.js';
import { trainAndEvaluate } from '../../helpers/pipeline.js';
import { copyConversations, temporary, tinyModel } from '../../helpers/tiny.js';
import { kestrelVL } from './index.js';

const { dir, remove } = temporary();
const model = join(dir, 'kestrel');

beforeAll(() => {
  (families as Family[]).push(kestrelVL);
  mkdirSync(model);
  for (const name of readdirSync(tinyModel)) {
    if (name !== 'config.json') symlinkSync(join(tinyModel, name), join(model, name));
  }
  const config = readFileSync(join(tinyModel, 'config.json'), 'utf8');
  const renamed = config.replace('Qwen2_5_VLForConditionalGeneration', kestrelVL.architectures[0]!);
  writeFileSync(join(model, 'config.json'), renamed);
});
afterAll(() => {
  (families as Family[]).pop();
  remove();
});

it('the guide shows the whole family', () => {
  const guide = readFileSync(fileURLToPath(new URL('../../../docs/adding-a-model.md', import.meta.url)), 'utf8');
  const source = readFileSync(fileURLToPath(new URL('index.ts', import.meta.url)), 'utf8');
  expect(guide).toContain(`\`\`\`ts\n${source.replaceAll('../../../lib/models/', '../')}\`\`\``);
});

it('differs from its parent where it says so', async () => {
  const data = copyConversations(dir, 'heldout', { image: 1 });
  const { records } = await readRecords([data]);
  const [own, parent] = await Promise.all(
    [model, tinyModel].map((path) => loadProcessor(path).process(records[0]!)),
  );
  const end = parent!.inputIds.indexOf(879);
  expect([...own!.inputIds]).toEqual([...parent!.inputIds.slice(0, end), 880, ...parent!.inputIds.slice(end)]);
});

it('is trained, exported, verified and decoded without loss as every other', async () => {
  const data = copyConversations(dir, 'train', { image: 2, text: 1, video: 1 });
  const { evaluation, verification } = await trainAndEvaluate(model, data, join(dir, 'out'));
  expect(evaluation.lossless).toBe(true);
  expect(Object.keys(evaluation.byModality).sort()).toEqual(['image', 'text', 'video']);
  const wrong = verification.checks.filter(({ ok }) => !ok);
  expect(wrong.map(({ name }) => name)).toEqual(['engine support']); // nobody serves what does not exist
});
