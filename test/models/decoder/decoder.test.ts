import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openSafetensors } from '../../../lib/hub/safetensors.js';
import { loadWeights } from '../../../lib/hub/weights.js';
import { DecoderTarget } from '../../../lib/models/decoder/decoder-target.js';
import { Decoder } from '../../../lib/models/decoder/decoder.js';
import { decoderWeightSpec, takeDecoderWeights, type DecoderForm } from '../../../lib/models/decoder/weights.js';
import type { Sample, TargetInfo } from '../../../lib/models/target.js';
import { native } from '../../../lib/native.js';
import { scope, toFloats } from '../../../lib/tensor.js';
import { relativeError } from '../../helpers/reference.js';

/** Made by scripts/fixtures/decoder.py. */
const file = openSafetensors(
  fileURLToPath(new URL('../../fixtures/decoder/query-key-norm.safetensors', import.meta.url)),
);

const info: TargetInfo = {
  architecture: 'Qwen3ForCausalLM',
  modelType: 'qwen3',
  hiddenSize: 32,
  numLayers: 2,
  numHeads: 4,
  numKeyValueHeads: 2,
  headDim: 16,
  intermediateSize: 48,
  vocabSize: 60,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 256,
  rotary: {
    theta: 1e5,
    headDim: 16,
    partialRotaryFactor: 1,
    scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64 },
  },
  eosTokenIds: [],
};
const form: DecoderForm = { attentionBias: false, queryKeyNorm: true, tieWordEmbeddings: false };

function load(): DecoderTarget {
  return scope(() => {
    const loaded = loadWeights(file, decoderWeightSpec(info, form, 'float32'), {
      ignore: ['input_ids', /hidden_states$/],
    });
    return new DecoderTarget(info, new Decoder({ ...info, activation: 'silu', form }, takeDecoderWeights(loaded, info, form)));
  });
}

function floats(name: string): Float32Array {
  return scope(() => toFloats(file.load(name)));
}

function sample(): Sample {
  const inputIds = Int32Array.from(scope(() => file.load('input_ids').toTypedArray()) as BigInt64Array, Number);
  return {
    id: 'text',
    inputIds,
    lossMask: new Uint8Array(inputIds.length),
    positionIds: Float32Array.from(inputIds.keys()),
    axes: 1,
    positionDelta: 0,
    media: [],
    modality: 'text',
  };
}

describe('a decoder with query and key norms, one axis and a scaled rotary embedding', () => {
  it('equals transformers in prefill and decoding', () => {
    const target = load();
    const cache = target.newCache();
    onTestFinished(() => {
      cache.dispose();
      target.dispose();
    });
    const whole = sample();
    scope(() => {
      const { hiddenStates, lastHiddenStates } = target.prefill([whole], { auxLayerIds: [], allLayers: true });
      expect(relativeError(toFloats(hiddenStates!), floats('hidden_states'))).toBeLessThan(1e-5);
      expect(relativeError(toFloats(lastHiddenStates), floats('last_hidden_states'))).toBeLessThan(1e-5);
    });
    const head = { ...whole, inputIds: whole.inputIds.slice(0, 34), positionIds: whole.positionIds.slice(0, 34) };
    scope(() => {
      target.prefill([head], { auxLayerIds: [], caches: [cache] });
      const rest = whole.inputIds.slice(34);
      const { lastHiddenStates } = target.decode(cache, rest, whole.positionIds.slice(34), []);
      expect(relativeError(toFloats(lastHiddenStates), floats('last_hidden_states').subarray(34 * 32))).toBeLessThan(1e-5);
    });
  });

  it('refuses media, and samples of mixed axes', () => {
    const target = load();
    onTestFinished(() => {
      target.dispose();
    });
    const text = sample();
    const media = [{ kind: 'image' as const, tokens: 1 }];
    expect(() => target.prefill([{ ...text, media }], { auxLayerIds: [] })).toThrow(
      'sample text: expected text only, received 1 media: Qwen3ForCausalLM takes none',
    );
    expect(() => target.prefill([text, { ...text, axes: 3 }], { auxLayerIds: [] })).toThrow('on 3 axes');
  });

  it('leaves no tensor behind', () => {
    const before = native.memory().liveTensors;
    load().dispose();
    expect(native.memory().liveTensors).toBe(before);
  });
});
