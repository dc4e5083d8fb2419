import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDist } from '../helpers/dist.js';
import {
  bench,
  benchFile,
  type ChildModule,
  type ChildProcess,
  type ProductsModule,
} from './helpers/modules.js';

const { Child, PeerError } = (await bench('harness', 'child.mjs')) as ChildModule;

const shape = {
  hidden: 32,
  intermediate: 48,
  heads: 4,
  kv_heads: 2,
  vocab: 150,
  draft_vocab: 50,
  tokens: 40,
  supervised: 16,
  steps: 3,
};
buildDist();
const { productsOfStep } = (await bench('eyas', 'products.mjs')) as ProductsModule;

interface Step {
  seconds: number;
  loss: number;
  step_loss: number[];
  grad_norm: number;
}

let folder: string;
let child: ChildProcess;
const loaded = (dtype: string, rules = 'tokens', extra = {}) =>
  child.ask({ do: 'load', folder, shape: { ...shape, ...extra }, dtype, rules });
const step = async (lr = 0): Promise<Step> => (await child.ask({ do: 'step', lr })) as unknown as Step;
const discounted = (losses: number[]): number => losses.reduce((sum, loss, s) => sum + 0.8 ** s * loss, 0);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'eyas-bench-ttt-'));
  child = new Child('eyas', process.execPath, [benchFile('eyas', 'ttt.mjs')], 1);
});
afterAll(async () => {
  await child.stop();
  rmSync(folder, { recursive: true });
});

describe('the eyas side of ttt', () => {
  it('takes optimizer steps that begin at the loss of a guess and learn', async () => {
    await loaded('float32');
    const first = await step();
    expect(first.step_loss).toHaveLength(shape.steps);
    for (const loss of first.step_loss) {
      expect(Math.abs(loss / Math.log(shape.draft_vocab) - 1)).toBeLessThan(0.05);
    }
    expect(first.loss).toBeCloseTo(discounted(first.step_loss), 5);
    expect(first.seconds).toBeGreaterThan(0);
    expect(first.grad_norm).toBeGreaterThan(0);
    expect((await step(0.01)).step_loss).toEqual(first.step_loss);
    for (let i = 0; i < 5; i++) await step(0.01);
    // The teacher is nearly uniform: there is little to learn.
    expect((await step()).loss).toBeLessThan(first.loss);
  });

  it('begins with the same values in either element type and whenever it is loaded', async () => {
    await loaded('float32');
    const first = await step();
    await loaded('bfloat16');
    const { loss } = await step();
    expect(Math.abs(loss / first.loss - 1)).toBeLessThan(1e-2);
    expect(loss).not.toBe(first.loss);
    await loaded('float32');
    expect((await step()).step_loss).toEqual(first.step_loss);
  });

  it('gives means over all tokens by the rules of SpecForge', async () => {
    await loaded('float32', 'specforge');
    const { loss, step_loss } = await step();
    // 16 supervised tokens, of which the last 3 + 2 lose their target; over 40 tokens.
    for (const each of step_loss) {
      expect(Math.abs(each / ((11 / 40) * Math.log(shape.draft_vocab)) - 1)).toBeLessThan(0.05);
    }
    expect(loss).toBeCloseTo(discounted(step_loss), 5);
  });

  it('measures its products alone and counts them by the loaded shape', async () => {
    await loaded('float32');
    const counted = await child.ask({ do: 'ceiling' });
    expect(counted['seconds']).toBeGreaterThan(0);
    expect(counted['gflop']).toBeGreaterThan(0);
    // 14 of 40 rows are supervised: the dense algorithm computes more than twice as much.
    expect(counted['gflop_dense']).toBeGreaterThan(2 * (counted['gflop'] as number));
    await loaded('float32', 'tokens', { steps: 1 });
    expect((await child.ask({ do: 'ceiling' }))['gflop']).toBeLessThan(counted['gflop'] as number);
  });

  it.each(['tokens', 'specforge'])(
    'counts the rows that it learns from by the rules of %s',
    async (rules) => {
      await loaded('float32', rules);
      const supervised = rules === 'specforge' ? [24, 35] : [24, 40];
      const sample = {
        inputIds: new Int32Array(shape.tokens),
        lossMask: new Uint8Array(shape.tokens).fill(1, ...supervised),
      };
      const config = {
        hiddenSize: shape.hidden,
        intermediateSize: shape.intermediate,
        headDim: shape.hidden / shape.heads,
        numHeads: shape.heads,
        numKeyValueHeads: shape.kv_heads,
        draftVocabSize: shape.draft_vocab,
        numAuxHiddenStates: 3,
      };
      const mask = rules === 'specforge' ? 'specforge' : 'serving';
      const { compact } = productsOfStep(config, [sample], { steps: shape.steps, vocab: shape.vocab, mask });
      const flop = compact.reduce((sum, { m, k, n, count }) => sum + 2 * m * k * n * count, 0);
      expect((await child.ask({ do: 'ceiling' }))['gflop']).toBeCloseTo(flop / 1e9, 12);
    },
  );

  it('can be measured where the last steps have no rows', async () => {
    await loaded('float32', 'tokens', { supervised: 3, steps: 3 });
    expect((await step()).step_loss[2]).toBe(0);
    expect((await child.ask({ do: 'ceiling' }))['gflop']).toBeGreaterThan(0);
  });

  it('says what share of a step is outside native code', async () => {
    await loaded('float32');
    const { outside_native_share: share } = await child.ask({ do: 'profile' });
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThan(1);
  });

  it('reports a shape that cannot be', async () => {
    await expect(loaded('float32', 'tokens', { hidden: 30 })).rejects.toThrow(PeerError);
    await loaded('float32');
    expect((await step()).loss).toBeGreaterThan(0);
  });
});
