import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { readDecoderConfig, decoderKinds } from '../../lib/models/decoder/config.js';
import { decoderWeightSpec } from '../../lib/models/decoder/weights.js';
import { native } from '../../lib/native.js';
import { FamilyFixtures } from '../helpers/family-fixtures.js';
import { trainAndEvaluate } from '../helpers/pipeline.js';
import { writeRandomWeights } from '../helpers/random-weights.js';
import { copyConversations, temporary, tinyModel } from '../helpers/tiny.js';

const { dir, remove } = temporary();
afterAll(remove);

interface Trial {
  model: string;
  data: string;
  auxLayerIds?: number[];
  modalities: string[];
  /** Whether SGLang serves the class with EAGLE-3. */
  served: boolean;
}

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

function familyTrial(folder: string, checkpoint: string, cases: string[], modalities: string[]): Trial {
  const family = new FamilyFixtures(folder);
  const name = `${folder}-${checkpoint}`;
  return {
    model: family.modelDir(dir, checkpoint, name),
    data: family.dataFile(join(dir, `${name}-data`), cases),
    auxLayerIds: [1, 2],
    modalities,
    served: false,
  };
}

function omniTrial(family: string, layout: string): Trial {
  const model = join(dir, `${family}-${layout}`);
  for (const part of ['shared', layout]) cpSync(fixture(`${family}/${part}`), model, { recursive: true });
  const modalities = ['audio', 'text', 'video'];
  return { model, data: join(model, 'records.jsonl'), auxLayerIds: [1, 2], modalities, served: false };
}

function textTrial(): Trial {
  const model = join(dir, 'qwen3-moe');
  mkdirSync(model);
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja', 'generation_config.json']) {
    cpSync(join(tinyModel, file), join(model, file));
  }
  const config = {
    architectures: ['Qwen3MoeForCausalLM'],
    model_type: 'qwen3_moe',
    vocab_size: 900,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 8,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    max_position_embeddings: 2048,
    rope_parameters: { rope_type: 'default', rope_theta: 1e6 },
    num_experts: 4,
    num_experts_per_tok: 2,
    moe_intermediate_size: 16,
    norm_topk_prob: true,
    tie_word_embeddings: false,
  };
  writeFileSync(join(model, 'config.json'), JSON.stringify(config));
  const context = { file: 'config.json', prefix: '', architecture: '', modelType: '', tieWordEmbeddings: false };
  const decoder = readDecoderConfig(config, decoderKinds.qwen3_moe, context);
  const form = { ...decoder.form, moe: { ...decoder.moe!, layout: 'separate' as const } };
  writeRandomWeights(model, decoderWeightSpec(decoder, form, 'float32'), 5);
  const data = copyConversations(dir, 'train', { text: 3 });
  return { model, data, modalities: ['text'], served: true };
}

const trials: [string, () => Trial][] = [
  ['InternVL', () => familyTrial('internvl', 'qwen2', ['text', 'pictures', 'clip'], ['image', 'text', 'video'])],
  ["InternVL in OpenGVLab's layout", () => familyTrial('internvl', 'internlm2', ['pictures', 'clip'], ['image', 'video'])],
  ['DeepSeek-VL', () => familyTrial('deepseek_vl', 'plain', ['text', 'pictures'], ['image', 'text'])],
  ["DeepSeek-VL's hybrid in its own layout", () => familyTrial('deepseek_vl', 'original-hybrid', ['pictures'], ['image'])],
  ['Qwen3-Omni', () => omniTrial('qwen3_omni', 'whole')],
  ['Qwen3-Omni, the thinker alone', () => omniTrial('qwen3_omni', 'thinker')],
  ['Qwen2.5-Omni', () => omniTrial('qwen2_5_omni', 'whole')],
  ['Qwen3-MoE', textTrial],
];

it.each(trials)('a draft for %s is trained, exported and verified, and decodes losslessly', async (name, prepare) => {
  const { model, data, auxLayerIds, modalities, served } = prepare();
  const live = native.memory().liveTensors;
  const { evaluation, verification } = await trainAndEvaluate(model, data, join(dir, `${name} output`), {
    draft: { vocabSize: 64, auxLayerIds },
    training: { maxSteps: 2, batchTokens: 4096 },
  });
  expect(evaluation.lossless).toBe(true);
  expect(Object.keys(evaluation.byModality).sort()).toEqual(modalities);
  const wrong = verification.checks.filter(({ ok }) => !ok).map((check) => check.name);
  expect(wrong).toEqual(served ? [] : ['engine support']);
  expect(native.memory().liveTensors).toBe(live);
});
