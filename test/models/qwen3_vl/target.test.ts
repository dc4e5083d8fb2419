import { expect, it, onTestFinished } from 'vitest';
import { Qwen3VLTarget } from '../../../lib/models/qwen3_vl/target.js';
import { relativeError } from '../../helpers/reference.js';
import { expectedCase, fixtureDirectory } from '../qwen_vl/fixtures.js';
import { describeParity, prefill } from '../qwen_vl/parity.js';

const checkpoints = ['dense', 'tied', 'moe', 'moe-published'];
const family = 'qwen3_vl';

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
