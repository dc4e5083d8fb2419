import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDraft } from '../../lib/draft/load.js';
import { DraftVocabulary } from '../../lib/draft/vocabulary.js';
import { openSafetensors } from '../../lib/hub/safetensors.js';
import { inverseFrequencies } from '../../lib/models/rotary.js';
import { native } from '../../lib/native.js';
import { exportDraft } from '../../lib/serving/export.js';
import { verifyDraft } from '../../lib/serving/verify.js';
import { writeDraft, type DraftContent } from '../../lib/serving/write-draft.js';
import { cast, dispose, ops, scope, tensor, toFloats, type Tensor } from '../../lib/tensor.js';
import { saveCheckpoint } from '../../lib/training/checkpoint.js';
import { parseConfig } from '../../lib/training/config.js';
import { version } from '../../lib/version.js';
import {
  describeDraft,
  draftIds,
  editJson,
  editTensors,
  randomWeights,
  settings,
  writePair,
  writeTarget,
  type Json,
  type SettingName,
} from './fixture.js';

let root: string;
let made = 0;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'eyas-export-'));
});

afterAll(() => {
  rmSync(root, { recursive: true });
});

const fresh = (): string => join(root, `${made++}`);

const readJson = (dir: string, file: string): Json =>
  JSON.parse(readFileSync(join(dir, file), 'utf8')) as Json;

/** Writes a draft in a setting, changed by `edit`. */
function write(name: SettingName, edit: Partial<DraftContent> = {}, out = join(fresh(), 'draft')): string {
  const targetDir = fresh();
  writeTarget(targetDir, settings[name].config);
  return scope(() => {
    const content = describeDraft(name);
    const weights = randomWeights(edit.config ?? content.config);
    return writeDraft({ ...content, weights, targetDir, ...edit }, out);
  });
}

describe('config.json', () => {
  it('has the keys that SGLang and vLLM read', () => {
    expect(readJson(write('sglang'), 'config.json')).toEqual({
      architectures: ['LlamaForCausalLMEagle3'],
      model_type: 'llama',
      attention_bias: false,
      mlp_bias: false,
      draft_vocab_size: 16,
      eos_token_id: [3, 5],
      head_dim: 8,
      hidden_act: 'silu',
      hidden_size: 16,
      intermediate_size: 32,
      max_position_embeddings: 128,
      num_attention_heads: 2,
      num_hidden_layers: 1,
      num_key_value_heads: 1,
      rms_norm_eps: 1e-6,
      rope_theta: 1_000_000,
      rope_scaling: { rope_type: 'default', mrope_section: [2, 1, 1], mrope_interleaved: false },
      tie_word_embeddings: false,
      torch_dtype: 'bfloat16',
      use_cache: true,
      vocab_size: 64,
    });
  });

  it('has no sections where the server gives the index', () => {
    const config = readJson(write('vllm'), 'config.json');
    expect(config['rope_scaling']).toBeNull();
    expect(config['rope_theta']).toBe(1_000_000);
  });

  it("carries the target's scaling and interleaving", () => {
    expect(readJson(write('yarn'), 'config.json')['rope_scaling']).toEqual({
      rope_type: 'yarn',
      factor: 4,
      original_max_position_embeddings: 32,
    });
    expect(readJson(write('deepstack'), 'config.json')['rope_scaling']).toEqual({
      rope_type: 'default',
      mrope_section: [2, 1, 1],
      mrope_interleaved: true,
    });
  });

  it('names aux layers in both conventions, and only where they are not the default', () => {
    expect(readJson(write('custom'), 'config.json')).toMatchObject({
      eagle_aux_hidden_state_layer_ids: [1, 4, 6],
      eagle_config: { use_aux_hidden_state: true, eagle_aux_hidden_state_layer_ids: [0, 3, 5] },
      num_aux_hidden_states: 3,
    });
    expect(readJson(write('sglang'), 'config.json')).not.toHaveProperty('eagle_config');
  });

  it('states a partial rotary factor where each engine reads it', () => {
    const { config, target } = describeDraft('vllm');
    const rotary = { theta: target.rotary.theta, headDim: 8, partialRotaryFactor: 0.5 };
    const dir = write('vllm', { config: { ...config, rotary } });
    expect(readJson(dir, 'config.json')).toMatchObject({
      partial_rotary_factor: 0.5,
      rope_scaling: { rope_type: 'default', partial_rotary_factor: 0.5 },
    });
  });
});

describe('model.safetensors', () => {
  it('holds the weights of SGLang’s class and the vocabulary maps', () => {
    const file = openSafetensors(join(write('sglang'), 'model.safetensors'));
    const layer = ['input_layernorm', 'hidden_norm', 'post_attention_layernorm']
      .concat(['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => `self_attn.${name}`))
      .concat(['gate_proj', 'up_proj', 'down_proj'].map((name) => `mlp.${name}`))
      .map((name) => `midlayer.${name}.weight`);
    const names = [...layer, 'fc.weight', 'norm.weight', 'lm_head.weight', 'd2t', 't2d'];
    expect(file.names()).toEqual(names.sort());
    expect(file.info('fc.weight')).toMatchObject({ dtype: 'BF16', shape: [16, 48] });
    expect(file.info('midlayer.self_attn.q_proj.weight').shape).toEqual([16, 32]);
    expect(file.info('lm_head.weight').shape).toEqual([16, 16]);
    expect(file.info('d2t')).toMatchObject({ dtype: 'I64', shape: [16] });
    expect(file.info('t2d')).toMatchObject({ dtype: 'BOOL', shape: [64] });
    scope(() => {
      expect(file.load('d2t').toTypedArray()).toEqual(
        BigInt64Array.from(draftIds, (id, i) => BigInt(id - i)),
      );
    });
    expect(file.metadata).toEqual({ format: 'pt' });
  });

  it('holds the embedding of the target where it is asked for', () => {
    const dir = fresh();
    writePair(dir, 'sglang', { includeEmbeddings: true, dtype: 'float32' });
    const own = openSafetensors(join(dir, 'draft', 'model.safetensors'));
    const target = openSafetensors(join(dir, 'target', 'model.safetensors'));
    expect(own.readBytes('embed_tokens.weight')).toEqual(target.readBytes('model.embed_tokens.weight'));
  });
});

describe('eyas.json', () => {
  it('holds the contract, the target and what was measured', () => {
    const manifest = readJson(write('sglang'), 'eyas.json');
    expect(manifest).toMatchObject({
      formatVersion: 1,
      eyasVersion: version,
      contract: describeDraft('sglang').contract,
      target: { architecture: 'Qwen2_5_VLForConditionalGeneration', modelType: 'qwen2_5_vl' },
      dataFingerprint: 'data',
      metrics: { acceptLength: 3.25 },
    });
    expect((manifest['target'] as Json)['weightsFingerprint']).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('writing', () => {
  it('replaces an earlier export and leaves nothing beside it', () => {
    const out = join(fresh(), 'draft');
    write('custom', {}, out);
    write('sglang', {}, out);
    expect(readJson(out, 'config.json')).not.toHaveProperty('eagle_config');
    expect(readdirSync(join(out, '..'))).toEqual(['draft']);
  });

  it('does not replace a directory of other files', () => {
    const out = fresh();
    mkdirSync(out);
    writeFileSync(join(out, 'thesis.tex'), '');
    expect(() => write('sglang', {}, out)).toThrow(/expected a new or empty directory or an earlier export/);
    expect(readdirSync(out)).toEqual(['thesis.tex']);
  });

  it('leaves nothing behind when it fails, and the earlier export as it was', () => {
    const parent = fresh();
    const out = write('sglang', {}, join(parent, 'draft'));
    const before = readFileSync(join(out, 'eyas.json'), 'utf8');
    const content = describeDraft('sglang');
    scope(() => {
      const weights = randomWeights(content.config);
      const targetDir = fresh();
      writeTarget(targetDir, settings.sglang.config);
      editTensors(targetDir, (all) => Reflect.deleteProperty(all, 'model.embed_tokens.weight'));
      const options = { includeEmbeddings: true };
      expect(() => writeDraft({ ...content, weights, targetDir }, out, options)).toThrow(
        /no embedding of shape/,
      );
    });
    expect(readdirSync(parent)).toEqual(['draft']);
    expect(readFileSync(join(out, 'eyas.json'), 'utf8')).toBe(before);
  });

  const { config, contract } = describeDraft('sglang');
  it.each<[string, Partial<DraftContent>, RegExp]>([
    [
      'axes',
      { config: { ...config, axes: 1 } },
      /axes of a draft with mrope positions: expected 3, received 1/,
    ],
    [
      'theta',
      { config: { ...config, rotary: { ...config.rotary, theta: 1e4 } } },
      /rope theta: expected 1000000/,
    ],
    [
      'vocabulary',
      { config: { ...config, draftVocabSize: 15 } },
      /draft vocabulary: size: expected 15, received 16/,
    ],
    [
      'aux layers',
      { contract: { ...contract, auxLayerIds: [2, 4] } },
      /numAuxHiddenStates: expected 2, received 3/,
    ],
    ['weights', { weights: {} }, /shape of fc\.weight: expected \[16, 48\], received nothing/],
  ])('refuses a draft whose parts disagree: %s', (_what, edit, message) => {
    const out = join(fresh(), 'draft');
    expect(() => write('sglang', edit, out)).toThrow(message);
    expect(existsSync(out)).toBe(false);
  });

  it('refuses scaled multimodal positions for SGLang, which would not scale them', () => {
    const draft = describeDraft('sglang');
    const rotary = { ...draft.config.rotary, scaling: settings.yarn.info.rotary.scaling };
    const edit = { config: { ...draft.config, rotary } };
    expect(() => write('sglang', edit)).toThrow(
      /SGLang takes a draft with mrope_section as unscaled, received scaling yarn/,
    );
  });

  it('refuses custom aux layers where SGLang counts by another rule', () => {
    const { target } = describeDraft('custom');
    const edit = { target: { ...target, architecture: 'GptOssForCausalLM' } };
    expect(() => write('custom', edit)).toThrow(/expected the default ids for GptOssForCausalLM/);
  });
});

function floatsOf(weights: Record<string, Tensor>): Record<string, Float32Array> {
  return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, toFloats(weight)]));
}

describe('loadDraft', () => {
  it.each(Object.keys(settings) as SettingName[])('gives back what was exported: %s', (name) => {
    const dir = fresh();
    const { content, weights } = writePair(dir, name, { dtype: 'float32' });
    const loaded = loadDraft(join(dir, 'draft'));
    expect(floatsOf(loaded.weights)).toEqual(weights);
    expect(loaded.vocabulary).toEqual(content.vocabulary);
    expect(loaded.contract).toEqual(content.contract);
    const { rotary: exported, ...sizes } = content.config;
    const { rotary, ...loadedSizes } = loaded.config;
    expect(loadedSizes).toEqual(sizes);
    expect(inverseFrequencies(rotary)).toEqual(inverseFrequencies(exported));
    expect(rotary.mropeSection).toEqual(
      content.contract.positions === 'mrope' ? exported.mropeSection : undefined,
    );
    dispose(loaded.weights);
  });

  it('rounds to bfloat16, as engines compute', () => {
    const dir = fresh();
    const { weights } = writePair(dir, 'sglang');
    scope(() => {
      const loaded = loadDraft(join(dir, 'draft'));
      for (const [name, data] of Object.entries(weights)) {
        const rounded = cast(cast(tensor(data, [data.length]), 'bfloat16'), 'float32');
        expect(toFloats(loaded.weights[name]!)).toEqual(toFloats(rounded));
      }
    });
  });

  it('gives a draft with the whole vocabulary', () => {
    const { config } = describeDraft('sglang');
    const all = [...Array(64).keys()];
    const whole = new DraftVocabulary(all, 64);
    const dir = write('sglang', { config: { ...config, draftVocabSize: 64 }, vocabulary: whole });
    expect(openSafetensors(join(dir, 'model.safetensors')).has('d2t')).toBe(false);
    scope(() => {
      expect([...loadDraft(dir).vocabulary.targetIds]).toEqual(all);
    });
  });

  it('reads the directory of another trainer, with the target’s help', () => {
    const dir = write('custom');
    rmSync(join(dir, 'eyas.json'));
    editTensors(dir, (all) => {
      for (const name of Object.keys(all)) {
        all[`model.${name.replace('midlayer.', 'layers.0.')}`] = all[name]!;
        Reflect.deleteProperty(all, name);
      }
    });
    expect(() => loadDraft(dir)).toThrow(/expected eyas\.json with the serving contract, or the target/);
    scope(() => {
      const { target, contract } = describeDraft('custom');
      const loaded = loadDraft(dir, { target });
      expect(loaded.contract).toEqual(contract);
      expect(Object.keys(loaded.weights)).toContain('midlayer.self_attn.q_proj.weight');
      expect([...loaded.vocabulary.targetIds]).toEqual(draftIds);
    });
  });

  it('adds one to ids that are there for SGLang alone', () => {
    const dir = write('custom');
    rmSync(join(dir, 'eyas.json'));
    editJson(dir, 'config.json', (json) => Reflect.deleteProperty(json, 'eagle_aux_hidden_state_layer_ids'));
    scope(() => {
      expect(loadDraft(dir, { target: describeDraft('custom').target }).contract.auxLayerIds).toEqual([
        1, 4, 6,
      ]);
    });
  });

  it.each<[string, Json, RegExp]>([
    ['two layers', { num_hidden_layers: 2 }, /config\.json: num_hidden_layers: expected 1, received 2/],
    ['norm_output', { norm_output: true }, /norm_output: expected false, received true/],
    ['a nested flag', { eagle_config: { norm_before_fc: true } }, /norm_before_fc: expected false/],
    ['gelu', { hidden_act: 'gelu' }, /hidden_act: expected "silu", received "gelu"/],
    ['another width', { target_hidden_size: 32 }, /target_hidden_size: expected hidden_size, received 32/],
    ['speculators', { speculators_model_type: 'eagle3' }, /received the speculators format/],
    ['no sizes', { hidden_size: null }, /hidden_size: expected a whole number above 0, received null/],
    ['no eps', { rms_norm_eps: 0 }, /rms_norm_eps: expected a number above 0, received 0/],
  ])('refuses what it does not compute: %s', (_what, values, message) => {
    const dir = write('sglang');
    editJson(dir, 'config.json', (json) => Object.assign(json, values));
    expect(() => loadDraft(dir)).toThrow(message);
  });

  it('lists the weights that do not fit', () => {
    const dir = write('sglang');
    editTensors(dir, (all) => {
      Reflect.deleteProperty(all, 'norm.weight');
      all['fc.bias'] = { dtype: 'float32', shape: [1], data: Float32Array.of(1) };
    });
    expect(() => loadDraft(dir)).toThrow(/norm\.weight[^]*fc\.bias/);
    editTensors(dir, (all) => Reflect.deleteProperty(all, 'd2t'));
    expect(() => loadDraft(dir)).toThrow(/d2t: expected 16 entries, received no such tensor/);
  });
});

describe('exportDraft', () => {
  it('writes a checkpoint of a run as a draft that passes verify', async () => {
    const dir = fresh();
    const model = join(dir, 'target');
    writeTarget(model, settings.sglang.config);
    const { config: shape, vocabulary } = describeDraft('sglang');
    const config = parseConfig({
      model,
      output: dir,
      data: { train: ['train.jsonl'] },
      draft: { vocabSize: 16, intermediateSize: 32 },
    });
    const checkpoint = scope(() => {
      const weights = randomWeights(shape);
      const maps = { d2t: tensor(vocabulary.d2t(), [16]), t2d: tensor(vocabulary.t2d(), [64]) };
      const state = {
        step: 40,
        totalSteps: 80,
        updates: 39,
        nonFiniteInARow: 0,
        best: { step: 40, metric: 'acceptLength', value: 2.5 },
        counts: { tokens: 1000 },
        config,
        dataFingerprint: 'records',
        version,
      };
      const optimizer = { m: ops.zeros([1], 'float32') };
      return saveCheckpoint(
        join(dir, 'checkpoints'),
        { tensors: { ...weights, ...maps }, optimizer, state },
        { keep: 1 },
      );
    });
    const { liveTensors } = native.memory();
    const out = join(dir, 'draft');
    const { path, files } = await exportDraft({ checkpoint, out, metrics: { speedup: 1.5 } });
    expect(path).toBe(out);
    expect(files.map(({ name }) => name)).toEqual(['config.json', 'eyas.json', 'model.safetensors']);
    expect(files.every(({ bytes }) => bytes > 0)).toBe(true);
    expect(native.memory().liveTensors).toBe(liveTensors);
    const manifest = readJson(out, 'eyas.json');
    expect(manifest).toMatchObject({
      dataFingerprint: 'records',
      metrics: { step: 40, tokens: 1000, best: { value: 2.5 }, speedup: 1.5 },
    });
    const report = await verifyDraft({ draft: out, target: model });
    expect(report.checks.filter(({ ok }) => !ok)).toEqual([]);
  });
});
