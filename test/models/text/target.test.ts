import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openSafetensors } from '../../../lib/hub/safetensors.js';
import { familyOf, loadTarget, readTargetInfo } from '../../../lib/models/registry.js';
import type { Sample } from '../../../lib/models/target.js';
import { native } from '../../../lib/native.js';
import { narrow, scope, toFloats } from '../../../lib/tensor.js';
import { relativeError } from '../../helpers/reference.js';

/** Made by scripts/fixtures/text_llm.py. */
const models = ['llama-llama3', 'llama-yarn-biases', 'qwen2-tied', 'qwen3', 'qwen3-moe'];
const directory = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/text_llm/${name}`, import.meta.url));

function expected(name: string) {
  const file = openSafetensors(join(directory(name), 'expected.safetensors'));
  const floats = (key: string): Float32Array => scope(() => toFloats(file.load(key)));
  const ids = scope(() => file.load('input_ids').toTypedArray()) as BigInt64Array;
  return {
    inputIds: Int32Array.from(ids, Number),
    hiddenStates: floats('hidden_states'),
    lastHiddenStates: floats('last_hidden_states'),
    logits: floats('logits'),
  };
}

function sampleOf(inputIds: Int32Array): Sample {
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

describe.each(models)('%s', (name) => {
  it('equals transformers in prefill and decoding', () => {
    const live = native.memory().liveTensors;
    const target = loadTarget(directory(name));
    const { inputIds, ...wanted } = expected(name);
    const length = inputIds.length;
    const half = length >> 1;
    const cache = target.newCache();
    scope(() => {
      const result = target.prefill([sampleOf(inputIds)], { auxLayerIds: [1, 2], allLayers: true });
      expect(relativeError(toFloats(result.hiddenStates!), wanted.hiddenStates)).toBeLessThan(1e-5);
      expect(relativeError(toFloats(result.lastHiddenStates), wanted.lastHiddenStates)).toBeLessThan(1e-5);
      const rows = target.logits(narrow(result.lastHiddenStates, 0, length - 2, 2));
      expect(relativeError(toFloats(rows), wanted.logits)).toBeLessThan(1e-5);

      target.prefill([sampleOf(inputIds.subarray(0, half))], { auxLayerIds: [], caches: [cache] });
      const positions = Float32Array.from({ length: length - half }, (_, i) => half + i);
      const decoded = target.decode(cache, inputIds.subarray(half), positions, [1]);
      const tail = wanted.lastHiddenStates.subarray(half * target.info.hiddenSize);
      expect(relativeError(toFloats(decoded.lastHiddenStates), tail)).toBeLessThan(1e-5);
    });
    cache.dispose();
    target.dispose();
    expect(native.memory().liveTensors).toBe(live);
  });
});

describe('configs', () => {
  /** A checkpoint directory with a changed config. */
  function changed(name: string, change: (config: Record<string, unknown>) => Record<string, unknown>): string {
    const dir = mkdtempSync(join(tmpdir(), 'eyas-text-'));
    onTestFinished(() => {
      rmSync(dir, { recursive: true });
    });
    const config = JSON.parse(readFileSync(join(directory(name), 'config.json'), 'utf8')) as Record<string, unknown>;
    writeFileSync(join(dir, 'config.json'), JSON.stringify(change(config)));
    symlinkSync(join(directory(name), 'model.safetensors'), join(dir, 'model.safetensors'));
    return dir;
  }

  it('of published checkpoints hold rope_theta and rope_scaling apart', () => {
    const dir = changed('llama-llama3', ({ rope_parameters: rope, ...config }) => {
      const { rope_theta: theta, ...scaling } = rope as Record<string, unknown>;
      return { ...config, rope_theta: theta, rope_scaling: scaling, torch_dtype: 'bfloat16' };
    });
    const [flat, nested] = [readTargetInfo(dir), readTargetInfo(directory('llama-llama3'))];
    expect(flat.rotary.theta).toBe(nested.rotary.theta);
    expect(flat.rotary.scaling).toMatchObject({ rope_type: 'llama3', factor: 8, original_max_position_embeddings: 64 });
    expect(familyOf(dir).name).toBe('Llama');
  });

  it('may leave the length that yarn was trained for to max_position_embeddings', () => {
    const dir = changed('qwen3', (config) => ({
      ...config,
      rope_parameters: undefined,
      rope_theta: 1e6,
      rope_scaling: { type: 'yarn', factor: 4 },
    }));
    expect(readTargetInfo(dir).rotary.scaling).toMatchObject({ original_max_position_embeddings: 256 });
  });

  it.each<[string, string, (config: Record<string, unknown>) => Record<string, unknown>, RegExp]>([
    [
      'a rope type that is not known',
      'qwen3',
      (c) => ({ ...c, rope_parameters: { rope_type: 'longrope', rope_theta: 1e4 } }),
      /config\.json: rope_parameters: .*expected one of default, .*llama3, yarn, received longrope/,
    ],
    [
      'more experts a token than there are',
      'qwen3-moe',
      (c) => ({ ...c, num_experts_per_tok: 9 }),
      /config\.json: num_experts_per_tok: expected at most the 5 experts, received 9/,
    ],
    [
      'sliding windows',
      'qwen2-tied',
      (c) => ({ ...c, use_sliding_window: true }),
      /config\.json: use_sliding_window: .*not supported/,
    ],
    [
      'another model type than the class has',
      'qwen2-tied',
      (c) => ({ ...c, model_type: 'qwen3' }),
      /config\.json: model_type: .*"qwen2"/,
    ],
  ])('are refused with %s', (_, name, change, message) => {
    expect(() => readTargetInfo(changed(name, change))).toThrow(message);
  });

  it('that do not fit the weights name those', () => {
    const dir = changed('qwen3', (config) => ({ ...config, num_hidden_layers: 4 }));
    expect(() => loadTarget(dir)).toThrow(/missing .*\n.*model\.layers\.3\.input_layernorm\.weight \[24\]/);
  });
});
