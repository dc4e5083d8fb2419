import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Qwen3VLTarget } from '../../../lib/models/qwen3_vl/target.js';
import { native } from '../../../lib/native.js';
import { relativeError } from '../../helpers/reference.js';
import { temporaryDirectory } from '../../hub/temporary.js';
import { expectedCase, fixtureDirectory } from '../qwen_vl/fixtures.js';
import { describeParity, prefill } from '../qwen_vl/parity.js';

const checkpoints = ['dense', 'tied', 'moe', 'moe-published'];
const family = 'qwen3_vl';
const scratch = temporaryDirectory();

describeParity(family, checkpoints, (directory) => Qwen3VLTarget.load(directory));

it.each(checkpoints)('takes states before the visual features are added where asked to: %s', (checkpoint) => {
  const target = Qwen3VLTarget.load(fixtureDirectory(family, checkpoint));
  onTestFinished(() => {
    target.dispose();
  });
  const { sample, deepstackBefore, lastHiddenStates } = expectedCase(family, checkpoint, 'mixed');
  const { all, last } = prefill(target, [sample], { allLayers: true, deepstack: 'before' });
  const boundary = sample.inputIds.length * target.info.hiddenSize;
  expect(relativeError(all.subarray(boundary, boundary + deepstackBefore.length), deepstackBefore)).toBeLessThan(1e-4);
  expect(relativeError(last, lastHiddenStates)).toBeLessThan(1e-4);
  const after = prefill(target, [sample], { allLayers: true, deepstack: 'after' });
  expect(relativeError(all.subarray(boundary, 2 * boundary), after.all.subarray(boundary, 2 * boundary))).toBeGreaterThan(0.01);
});

it.each(checkpoints)('stays near float32 with bfloat16 weights: %s', (checkpoint) => {
  const target = Qwen3VLTarget.load(fixtureDirectory(family, checkpoint), { dtype: 'bfloat16' });
  onTestFinished(() => {
    target.dispose();
  });
  expect(target.embedTokens.dtype).toBe('bfloat16');
  const { sample, lastHiddenStates } = expectedCase(family, checkpoint, 'images');
  const error = relativeError(prefill(target, [sample]).last, lastHiddenStates);
  expect(error).toBeGreaterThan(1e-6);
  expect(error).toBeLessThan(0.1);
});

it('lists weights that do not fit', () => {
  const dir = join(scratch, 'changed');
  cpSync(fixtureDirectory(family, 'dense'), dir, { recursive: true });
  const path = join(dir, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { vision_config: object };
  const vision = { ...config.vision_config, depth: 4, deepstack_visual_indexes: [0, 1, 2], num_position_embeddings: 36 };
  writeFileSync(path, JSON.stringify({ ...config, vision_config: vision }));
  const before = native.memory().liveTensors;
  const load = () => Qwen3VLTarget.load(dir);
  expect(load).toThrow('visual.blocks.3.attn.qkv.weight [48, 16]');
  expect(load).toThrow('visual.deepstack_merger_list.2.norm.weight [64]');
  expect(load).toThrow('model.visual.pos_embed.weight: expected [36, 16], received [25, 16]');
  expect(native.memory().liveTensors).toBe(before);
});
