import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openSafetensors } from '../../lib/hub/safetensors.js';
import { run } from '../../lib/jobs/features.js';
import { native } from '../../lib/native.js';
import { scope, toFloats } from '../../lib/tensor.js';
import type { FeaturesOptions } from '../../lib/worker/jobs.js';
import { copyConversations, temporary, tinyModel } from '../helpers/tiny.js';

const context = {
  emit: () => undefined,
  stopRequested: () => false,
  throwIfStopped: () => undefined,
  signal: new AbortController().signal,
};

function directory(): string {
  const { dir, remove } = temporary();
  onTestFinished(remove);
  return dir;
}

async function features(options: Omit<FeaturesOptions, 'out'>) {
  const out = join(directory(), 'features');
  const live = native.memory().liveTensors;
  const result = await run({ ...options, out }, context);
  expect(native.memory().liveTensors).toBe(live);
  return { out, result };
}

describe('features', () => {
  it('are a file a record, whose parts agree', async () => {
    const data = copyConversations(directory(), 'heldout', { image: 1, text: 1 });
    const { out, result } = await features({
      model: tinyModel,
      data: [data],
      layers: 'all',
      logits: true,
      mediaFeatures: true,
    });
    expect(result.files).toBe(2);
    const lines = readFileSync(data, 'utf8').trim().split('\n');
    for (const line of lines) {
      const { id } = JSON.parse(line) as { id: string };
      const file = openSafetensors(join(out, `${id}.safetensors`));
      const [tokens = 0, hidden = 0] = file.info('last_hidden_states').shape;
      expect(file.info('input_ids').shape).toEqual([tokens]);
      expect(file.info('loss_mask').shape).toEqual([tokens]);
      expect(file.info('position_ids').shape).toEqual([3, tokens]);
      expect(file.info('hidden_states').shape).toEqual([9, tokens, hidden]);
      expect(file.info('aux_hidden_states').shape).toEqual([tokens, 3 * hidden]);
      expect(file.info('logits').shape[0]).toBe(tokens);
      scope(() => {
        const all = toFloats(file.load('hidden_states'));
        const aux = toFloats(file.load('aux_hidden_states'));
        [2, 4, 5].forEach((boundary, slot) => {
          for (let t = 0; t < tokens; t++) {
            const row = (boundary * tokens + t) * hidden;
            const expected = all.subarray(row, row + hidden);
            const at = (3 * t + slot) * hidden;
            expect(aux.subarray(at, at + hidden)).toEqual(expected);
          }
        });
      });
      const isImage = line.includes('"image"');
      expect(file.has('media.0.pixels')).toBe(isImage);
      if (isImage) {
        const grid = scope(() => toFloats(file.load('media.0.grid')));
        expect(file.info('media.0.pixels').shape[0]).toBe(grid.reduce((a, b) => a * b) * 3 * 2 * 14 * 14);
      }
    }
  });

  it('of targets with few layers are all layers, or those that are named', async () => {
    const model = join(directory(), 'model');
    mkdirSync(model);
    const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
    cpSync(fixture('tokenizer'), model, { recursive: true });
    cpSync(fixture('text_llm/qwen3'), model, { recursive: true });
    // Its vocabulary is smaller than the tokenizer's: the record is skipped, and the layers are what is looked at.
    const data = join(model, 'data.jsonl');
    writeFileSync(data, JSON.stringify({ id: 'a', messages: [{ role: 'user', content: 'a' }] }));
    const some = { model, data: [data], onBadRecord: 'skip' as const };
    await expect(features({ ...some })).rejects.toThrow(/aux layers: the default .* is not ascending/);
    await expect(
      features({ ...some, serving: { engine: 'sglang', auxLayerIds: [1, 2] } }),
    ).resolves.toBeDefined();
    await expect(features({ ...some, layers: 'all' })).resolves.toBeDefined();
  });
});
