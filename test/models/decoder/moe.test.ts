import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { writeSafetensors, type ArrayTensor } from '../../../lib/hub/safetensors-writer.js';
import { openSafetensors, type Checkpoint } from '../../../lib/hub/safetensors.js';
import { loadWeights } from '../../../lib/hub/weights.js';
import type { DecoderConfig, MoeConfig } from '../../../lib/models/decoder/config.js';
import { DecoderTarget } from '../../../lib/models/decoder/decoder-target.js';
import { Decoder } from '../../../lib/models/decoder/decoder.js';
import {
  detectExpertLayout,
  expertWeightSpec,
  takeExpertWeights,
  type ExpertLayout,
} from '../../../lib/models/decoder/expert-weights.js';
import { decoderForm, decoderWeightSpec, takeDecoderWeights } from '../../../lib/models/decoder/weights.js';
import { native } from '../../../lib/native.js';
import { scope, toFloats } from '../../../lib/tensor.js';
import { Draws } from '../../helpers/random.js';
import { expectSameBits, relativeError } from '../../helpers/reference.js';
import { temporary } from '../../helpers/tiny.js';

function decoderConfig(moe: Pick<MoeConfig, 'normTopkProb' | 'isSparse'>): DecoderConfig {
  return {
    architecture: 'Qwen3MoeForCausalLM',
    modelType: 'qwen3_moe',
    hiddenSize: 16,
    numLayers: 3,
    numHeads: 2,
    numKeyValueHeads: 1,
    headDim: 8,
    intermediateSize: 24,
    vocabSize: 40,
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 256,
    rotary: { theta: 1e4, headDim: 8, partialRotaryFactor: 1 },
    eosTokenIds: [],
    activation: 'silu',
    form: { attentionBias: true, outputBias: true, queryKeyNorm: true, tieWordEmbeddings: false },
    moe: { numExperts: 6, expertsPerToken: 3, intermediateSize: 8, ...moe },
  };
}

/** Made by scripts/fixtures/decoder.py. */
const fixtures: Record<string, DecoderConfig> = {
  'moe-normalised': decoderConfig({ normTopkProb: true, isSparse: (layer) => layer !== 1 }),
  'moe-plain': decoderConfig({ normTopkProb: false, isSparse: (layer) => layer === 1 }),
};

function load(file: Checkpoint, config: DecoderConfig): DecoderTarget {
  return scope(() => {
    const form = decoderForm(config, file, ['model.']);
    const loaded = loadWeights(file, decoderWeightSpec(config, form, 'float32'), {
      ignore: ['input_ids', /hidden_states$/],
    });
    return new DecoderTarget(config, new Decoder(config, takeDecoderWeights(loaded, config, form)));
  });
}

describe.each(Object.entries(fixtures))('a decoder with experts: %s', (name, config) => {
  const file = openSafetensors(
    fileURLToPath(new URL(`../../fixtures/decoder/${name}.safetensors`, import.meta.url)),
  );
  const floats = (key: string): Float32Array => scope(() => toFloats(file.load(key)));
  const inputIds = Int32Array.from(
    scope(() => file.load('input_ids').toTypedArray()) as BigInt64Array,
    Number,
  );
  const positionIds = Float32Array.from(inputIds.keys());
  const sample = {
    id: 'text',
    inputIds,
    lossMask: new Uint8Array(inputIds.length),
    positionIds,
    axes: 1 as const,
    positionDelta: 0,
    media: [],
    modality: 'text' as const,
  };

  it('equals transformers after every layer', () => {
    const target = load(file, config);
    onTestFinished(() => {
      target.dispose();
    });
    scope(() => {
      const { hiddenStates, lastHiddenStates } = target.prefill([sample], {
        auxLayerIds: [],
        allLayers: true,
      });
      expect(relativeError(toFloats(hiddenStates!), floats('hidden_states'))).toBeLessThan(1e-5);
      expect(relativeError(toFloats(lastHiddenStates), floats('last_hidden_states'))).toBeLessThan(1e-5);
    });
  });

  it('decodes 16 tokens together as it decodes them one by one', () => {
    const target = load(file, config);
    const caches = [target.newCache(), target.newCache()] as const;
    onTestFinished(() => {
      for (const cache of caches) cache.dispose();
      target.dispose();
    });
    const from = inputIds.length - 16;
    const head = {
      ...sample,
      inputIds: inputIds.slice(0, from),
      positionIds: positionIds.slice(0, from),
    };
    const decode = (which: 0 | 1, start: number, end: number): Float32Array =>
      scope(() =>
        toFloats(
          target.decode(caches[which], inputIds.slice(start, end), positionIds.slice(start, end), [])
            .lastHiddenStates,
        ),
      );
    scope(() => {
      for (const cache of caches) target.prefill([head], { auxLayerIds: [], caches: [cache] });
    });
    const together = decode(0, from, inputIds.length);
    for (let i = 0; i < 16; i++) {
      const alone = decode(1, from + i, from + i + 1);
      expectSameBits(alone, together.slice(i * config.hiddenSize, (i + 1) * config.hiddenSize));
    }
    const expected = floats('last_hidden_states').subarray(from * config.hiddenSize);
    expect(relativeError(together, expected)).toBeLessThan(1e-5);
  });

  it('leaves no tensor behind', () => {
    const before = native.memory().liveTensors;
    const target = load(file, config);
    scope(() => {
      target.prefill([sample], { auxLayerIds: [] });
    });
    target.dispose();
    expect(native.memory().liveTensors).toBe(before);
  });
});

type Stack = { data: Float32Array; shape: [number, number, number] };

/** Exchanges the last two dimensions. */
function turned({ data, shape: [count, rows, columns] }: Stack): Stack {
  const out = new Float32Array(data.length);
  for (let e = 0; e < count; e++)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++)
        out[(e * columns + j) * rows + i] = data[(e * rows + i) * columns + j]!;
  return { data: out, shape: [count, columns, rows] };
}

describe('expert weights', () => {
  const prefix = 'model.layers.0.';
  const tensorOf = ({ data, shape }: { data: Float32Array; shape: number[] }): ArrayTensor => ({
    dtype: 'float32',
    shape,
    data,
  });

  function published(layout: ExpertLayout, gateUp: Stack, down: Stack): Record<string, ArrayTensor> {
    const experts = `${prefix}mlp.experts.`;
    if (layout !== 'separate') {
      const order = layout === 'fused-in-out' ? turned : (stack: Stack): Stack => stack;
      return {
        [`${experts}gate_up_proj`]: tensorOf(order(gateUp)),
        [`${experts}down_proj`]: tensorOf(order(down)),
      };
    }
    const [count, hidden, intermediate] = down.shape;
    const size = hidden * intermediate;
    const part = (data: Float32Array, at: number, shape: number[]): ArrayTensor =>
      tensorOf({ data: data.slice(at * size, (at + 1) * size), shape });
    const entries = Array.from({ length: count }, (_, e) => [
      [`${experts}${e}.gate_proj.weight`, part(gateUp.data, 2 * e, [intermediate, hidden])],
      [`${experts}${e}.up_proj.weight`, part(gateUp.data, 2 * e + 1, [intermediate, hidden])],
      [`${experts}${e}.down_proj.weight`, part(down.data, e, [hidden, intermediate])],
    ]);
    return Object.fromEntries(entries.flat()) as Record<string, ArrayTensor>;
  }

  const moeOf = (intermediateSize: number): MoeConfig => ({
    numExperts: 3,
    expertsPerToken: 2,
    intermediateSize,
    normTopkProb: true,
    isSparse: () => true,
  });

  function withCheckpoint(tensors: Record<string, ArrayTensor>, body: (checkpoint: Checkpoint) => void): void {
    const { dir, remove } = temporary();
    try {
      const file = join(dir, 'model.safetensors');
      writeSafetensors(file, tensors);
      body(openSafetensors(file));
    } finally {
      remove();
    }
  }

  // Sizes of which no tensor, gate and up, or down alone fit both orders.
  for (const [hidden, intermediate] of [
    [8, 6],
    [8, 4],
    [8, 8],
  ] as const)
    for (const layout of ['separate', 'fused-out-in', 'fused-in-out'] as const)
      it(`are the same from every layout: ${layout}, hidden ${hidden}, intermediate ${intermediate}`, () => {
        const before = native.memory().liveTensors;
        const draws = new Draws(41);
        const stack = (rows: number, columns: number): Stack => ({
          data: draws.normals(3 * rows * columns),
          shape: [3, rows, columns],
        });
        const gateUp = stack(2 * intermediate, hidden);
        const down = stack(hidden, intermediate);
        const router = draws.normals(3 * hidden);
        const tensors = {
          ...published(layout, gateUp, down),
          [`${prefix}mlp.gate.weight`]: tensorOf({ data: router, shape: [3, hidden] }),
        };
        withCheckpoint(tensors, (checkpoint) => {
          const moe = moeOf(intermediate);
          expect(detectExpertLayout(checkpoint, hidden, moe, ['model.'])).toBe(layout);
          scope(() => {
            const form = { ...moe, layout };
            const loaded = loadWeights(checkpoint, expertWeightSpec(prefix, hidden, form, 'float32'));
            const taken = takeExpertWeights(loaded, prefix, hidden, form);
            expect(loaded.size).toBe(0);
            expect([taken.gateUp.shape, taken.down.shape]).toEqual([gateUp.shape, down.shape]);
            expectSameBits(toFloats(taken.gateUp), gateUp.data);
            expectSameBits(toFloats(taken.down), down.data);
            expectSameBits(toFloats(taken.router), router);
          });
        });
        expect(native.memory().liveTensors).toBe(before);
      });

  it('of other parts of a model do not decide, and shapes that fit no order are an error', () => {
    const stack = (...shape: [number, number, number]): Stack => ({
      data: new Float32Array(shape[0] * shape[1] * shape[2]),
      shape,
    });
    withCheckpoint(published('fused-out-in', stack(3, 12, 8), stack(3, 6, 8)), (checkpoint) => {
      expect(detectExpertLayout(checkpoint, 8, moeOf(6), ['thinker.'])).toBe('separate');
      expect(() => detectExpertLayout(checkpoint, 8, moeOf(6), ['model.'])).toThrow(
        `${checkpoint.source}: model.layers.0.mlp.experts.gate_up_proj and ` +
          'model.layers.0.mlp.experts.down_proj: expected [3, 12, 8] and [3, 8, 6], or [3, 8, 12] and [3, 6, 8], ' +
          'received [3, 12, 8] and [3, 6, 8]',
      );
    });
  });
});
