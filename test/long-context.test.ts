import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Eagle3Draft, eagle3Shapes, type Eagle3Config } from '../lib/draft/eagle3.js';
import { DraftVocabulary } from '../lib/draft/vocabulary.js';
import type { VisualFeature } from '../lib/models/qwen_vl/visual-feature.js';
import type { Sample, Target } from '../lib/models/target.js';
import { native } from '../lib/native.js';
import { keep, ops, scope } from '../lib/tensor.js';
import { Eagle3Trainer } from '../lib/training/trainer.js';
import { directory, loadTarget } from './models/qwen2_5_vl/checkpoints.js';

/** Bytes of tensors that `work` needs at once, beside what was there before. */
function peakOf(work: () => void): number {
  native.resetPeakMemory();
  const before = native.memory().peakBytes;
  work();
  return native.memory().peakBytes - before;
}

/** Four times the tokens may need four times the memory; scores of all pairs would need sixteen times. */
function expectLinear(peak: (tokens: number) => number, tokens: number): void {
  peak(64); // what is made once and kept
  const [short, long] = [peak(tokens / 4), peak(tokens)];
  expect(short).toBeGreaterThan(0);
  expect(long / short).toBeLessThan(4.4);
}

const text = (id: string, length: number, supervised: number, vocabSize: number): Sample => ({
  id,
  inputIds: Int32Array.from({ length }, (_, t) => (t * 31 + 7) % vocabSize),
  lossMask: Uint8Array.from({ length }, (_, t) => (t >= length - supervised ? 1 : 0)),
  positionIds: Float32Array.from({ length }, (_, t) => t),
  axes: 1,
  positionDelta: 0,
  media: [],
  modality: 'text',
});

const longest = 32_768;

describe('memory grows with the length, not with its square', () => {
  it.each(['float32', 'bfloat16'] as const)('in a training step, %s', (compute) => {
    const [hiddenSize, vocabSize] = [32, 64];
    const config: Eagle3Config = {
      hiddenSize,
      intermediateSize: 48,
      numHeads: 2,
      numKeyValueHeads: 1,
      headDim: 16,
      rmsNormEps: 1e-6,
      vocabSize,
      draftVocabSize: 32,
      numAuxHiddenStates: 3,
      maxPositionEmbeddings: longest,
      rotary: { theta: 1e6, headDim: 16, partialRotaryFactor: 1 },
      axes: 1,
    };
    const random = (shape: number[], seed: number) => ops.randomNormal(shape, 0.3, BigInt(seed));
    const target = {
      embedTokens: keep(random([vocabSize, hiddenSize], 1)),
      lmHead: keep(random([vocabSize, hiddenSize], 2)),
      prefill: ([sample]: Sample[]) => ({
        auxHiddenStates: random([sample!.inputIds.length, 3 * hiddenSize], 3),
        lastHiddenStates: random([sample!.inputIds.length, hiddenSize], 4),
      }),
    } as unknown as Target;
    const weights = Object.fromEntries(
      Object.entries(eagle3Shapes(config)).map(([name, shape], i) => [name, keep(random(shape, 5 + i))]),
    );
    const draft = new Eagle3Draft(config, weights, { compute, trained: true });
    const vocabulary = new DraftVocabulary(
      Array.from({ length: 32 }, (_, i) => 2 * i),
      vocabSize,
    );
    const trainer = new Eagle3Trainer(target, draft, vocabulary, {
      steps: 7,
      decay: 0.8,
      mask: 'serving',
      normalization: 'tokens',
      outOfVocabulary: 'keep',
      gradClip: 0.5,
      optimizer: { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0 },
      contract: {
        engine: 'sglang',
        auxLayerIds: [2, 3, 5],
        multimodalEmbedding: 'placeholder',
        positions: 'index',
        deepstack: 'before',
        positionRule: 'engines',
      },
    });
    expectLinear((tokens) => {
      const sample = text(String(tokens), tokens, 32, vocabSize);
      return peakOf(() => {
        const { loss, supervised } = trainer.step([[sample]], 1e-4);
        expect(loss).toBeGreaterThan(0);
        expect(supervised).toBeGreaterThan(0);
      });
    }, longest);
  });

  it('in the prefill of a target, text', () => {
    const target = loadTarget('untied');
    onTestFinished(() => {
      target.dispose();
    });
    expectLinear((tokens) => {
      const sample = { ...text('0', tokens, 0, 100), axes: 3 as const };
      sample.positionIds = Float32Array.from({ length: 3 * tokens }, (_, i) => i % tokens);
      return peakOf(() => {
        scope(() => {
          const { lastHiddenStates } = target.prefill([sample], { auxLayerIds: [1, 2, 3] });
          expect(lastHiddenStates.shape[0]).toBe(tokens);
        });
      });
    }, longest);
  });

  it('in the prefill of a target, one large picture', () => {
    const target = loadTarget('untied');
    onTestFinished(() => {
      target.dispose();
    });
    const config = JSON.parse(readFileSync(join(directory('untied'), 'config.json'), 'utf8')) as {
      image_token_id: number;
      vision_config: { patch_size: number; temporal_patch_size: number; spatial_merge_size: number };
    };
    const {
      patch_size: patch,
      temporal_patch_size: frames,
      spatial_merge_size: merge,
    } = config.vision_config;
    expectLinear((tokens) => {
      const rows = tokens * merge ** 2;
      const height = Math.sqrt(rows);
      const image: VisualFeature = {
        kind: 'image',
        tokens,
        grid: [1, height, height],
        pixels: new Float32Array(rows * 3 * frames * patch ** 2).fill(0.1),
      };
      const sample: Sample = {
        ...text('0', tokens, 0, 1),
        inputIds: new Int32Array(tokens).fill(config.image_token_id),
        positionIds: Float32Array.from({ length: 3 * tokens }, (_, i) => i % tokens),
        axes: 3,
        media: [image],
        modality: 'image',
      };
      return peakOf(() => {
        scope(() => {
          const { lastHiddenStates } = target.prefill([sample], { auxLayerIds: [1, 2, 3] });
          expect(lastHiddenStates.shape[0]).toBe(tokens);
        });
      });
    }, 4096);
  });
});
