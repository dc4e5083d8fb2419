import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../lib/hub/safetensors.js';
import { run as evaluate } from '../../../lib/jobs/evaluate.js';
import { weightSpec } from '../../../lib/models/blueprint.js';
import type { DecoderConfig } from '../../../lib/models/decoder/config.js';
import { decoderWeightSpec } from '../../../lib/models/decoder/weights.js';
import { parseConfig as parseQwen2VL } from '../../../lib/models/qwen2_vl/config.js';
import { visionBlueprint as qwen2VLVision } from '../../../lib/models/qwen2_vl/vision.js';
import { parseConfig as parseQwen3VL } from '../../../lib/models/qwen3_vl/config.js';
import { visionBlueprint as qwen3VLVision } from '../../../lib/models/qwen3_vl/vision.js';
import type { Engine } from '../../../lib/serving/contract.js';
import { exportDraft } from '../../../lib/serving/export.js';
import { verifyDraft } from '../../../lib/serving/verify.js';
import { parseConfig as parseTraining } from '../../../lib/training/config.js';
import { runTraining } from '../../../lib/training/run.js';
import { writeRandomWeights } from '../../helpers/random-weights.js';
import { copyConversations, temporary, tinyModel } from '../../helpers/tiny.js';

const { dir, remove } = temporary();
let train: string;
let heldout: string;
beforeAll(() => {
  train = copyConversations(dir, 'train', { text: 2, image: 3, video: 1 });
  heldout = copyConversations(dir, 'heldout', { text: 1, image: 1, video: 1 });
});
afterAll(remove);

const tokens = JSON.parse(readFileSync(join(tinyModel, 'tokenizer.json'), 'utf8')) as {
  added_tokens: { id: number; content: string }[];
};
const token = (name: string): number =>
  tokens.added_tokens.find(({ content }) => content === `<|${name}|>`)!.id;

const text = {
  vocab_size: 1024,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-6,
  eos_token_id: token('im_end'),
};
const ids = {
  image_token_id: token('image_pad'),
  video_token_id: token('video_pad'),
  vision_start_token_id: token('vision_start'),
  vision_end_token_id: token('vision_end'),
  tie_word_embeddings: false,
};
const interleaved = { rope_type: 'default', rope_theta: 5e6, mrope_section: [4, 2, 2], mrope_interleaved: true };
const vision = { depth: 2, num_heads: 2, spatial_merge_size: 2, temporal_patch_size: 2 };
const qwen3Vision = {
  ...vision,
  hidden_size: 16,
  intermediate_size: 24,
  patch_size: 16,
  out_hidden_size: 32,
  num_position_embeddings: 16,
  deepstack_visual_indexes: [0, 1],
};
const pixels = (patch: number) => ({
  patch_size: patch,
  temporal_patch_size: 2,
  merge_size: 2,
  size: { shortest_edge: 4096, longest_edge: 65536 },
});

interface Model {
  architecture: string;
  config: object;
  patch: number;
  engine: Engine;
  /** What `verify` finds wrong. */
  wrong: string[];
  /** `rope_scaling` of the draft. */
  rope: object | null;
  spec: (raw: unknown) => { text: DecoderConfig; vision: unknown };
}

const qwen3Spec = (raw: unknown) => {
  const config = parseQwen3VL(raw, 'config.json');
  return { text: config.text, vision: qwen3VLVision(config.vision, 'float32') };
};
const qwen3Rope = { rope_type: 'default', mrope_section: [4, 2, 2], mrope_interleaved: true };

const models: Model[] = [
  {
    architecture: 'Qwen3VLForConditionalGeneration',
    config: { model_type: 'qwen3_vl', text_config: { ...text, head_dim: 16, rope_parameters: interleaved }, vision_config: qwen3Vision },
    patch: 16,
    engine: 'sglang',
    wrong: [],
    rope: qwen3Rope,
    spec: qwen3Spec,
  },
  {
    architecture: 'Qwen3VLMoeForConditionalGeneration',
    config: {
      model_type: 'qwen3_vl_moe',
      text_config: { ...text, head_dim: 16, rope_parameters: interleaved, num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 24 },
      vision_config: qwen3Vision,
    },
    patch: 16,
    engine: 'vllm',
    wrong: [],
    rope: null,
    spec: qwen3Spec,
  },
  {
    architecture: 'Qwen2VLForConditionalGeneration',
    config: {
      model_type: 'qwen2_vl',
      ...text,
      rope_theta: 1e6,
      rope_scaling: { type: 'mrope', mrope_section: [2, 1, 1] },
      vision_config: { ...vision, embed_dim: 16, mlp_ratio: 2, hidden_size: 32, patch_size: 14 },
    },
    patch: 14,
    engine: 'sglang',
    wrong: ['engine support'],
    rope: { rope_type: 'default', mrope_section: [2, 1, 1], mrope_interleaved: false },
    spec: (raw) => {
      const config = parseQwen2VL(raw, 'config.json');
      return { text: config.text, vision: qwen2VLVision(config.vision, 'float32') };
    },
  },
];

/** A random checkpoint with the embedded tokenizer and template. */
function checkpoint({ architecture, config, patch, spec }: Model): string {
  const model = join(dir, architecture);
  mkdirSync(model);
  for (const file of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja']) {
    cpSync(join(tinyModel, file), join(model, file));
  }
  const raw = { architectures: [architecture], ...ids, ...config };
  writeFileSync(join(model, 'config.json'), JSON.stringify(raw));
  writeFileSync(join(model, 'preprocessor_config.json'), JSON.stringify(pixels(patch)));
  const parts = spec(raw);
  const { form, moe } = parts.text;
  const decoder = decoderWeightSpec(parts.text, { ...form, ...(moe && { moe: { ...moe, layout: 'fused-in-out' } }) }, 'float32');
  writeRandomWeights(model, { ...decoder, ...weightSpec(parts.vision) }, 3);
  expect(openCheckpoint(model).names().length).toBeGreaterThan(50);
  return model;
}

const context = {
  emit: () => undefined,
  stopRequested: () => false,
  throwIfStopped: () => undefined,
  signal: new AbortController().signal,
};

const wrongOf = async (draft: string, target: string): Promise<string[]> => {
  const { checks } = await verifyDraft({ draft, target });
  return checks.filter(({ ok }) => !ok).map(({ name }) => name);
};

describe.each(models)('a draft for $architecture', (target) => {
  it('is trained, exported and verified, and decodes losslessly', async () => {
    const model = checkpoint(target);
    const output = join(dir, `${target.architecture}-run`);
    const config = parseTraining({
      model,
      output,
      data: { train: [train], eval: [heldout] },
      draft: { vocabSize: 300 },
      ttt: { steps: 2 },
      serving: { engine: target.engine },
      training: { maxSteps: 2, batchTokens: 1024, threads: 2 },
    });
    const { bestCheckpoint, metrics } = await runTraining(config, context);
    expect(Object.values(metrics).every(Number.isFinite)).toBe(true);

    const draft = join(output, 'draft');
    await exportDraft({ checkpoint: bestCheckpoint, model, out: draft });
    const written = JSON.parse(readFileSync(join(draft, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(written['rope_scaling']).toEqual(target.rope);
    expect(await wrongOf(draft, model)).toEqual(target.wrong);
    const manifest = readFileSync(join(draft, 'eyas.json'), 'utf8');
    writeFileSync(join(draft, 'eyas.json'), manifest.replace('"engines"', '"transformers5"'));
    expect(await wrongOf(draft, model)).toEqual([...target.wrong, 'position rule']);
    writeFileSync(join(draft, 'eyas.json'), manifest);

    const options = { model, draft, data: [heldout], chainLength: 3, maxNewTokens: 12, threads: 2 };
    const result = await evaluate(options, context);
    expect(result.mismatches).toEqual([]);
    expect(result.lossless).toBe(true);
    expect(Object.keys(result.byModality).sort()).toEqual(['image', 'text', 'video']);
  });
});
