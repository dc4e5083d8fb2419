import { rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../../lib/serving/contract.js';
import { editJson, editTensors, settings, writeTarget, type Json, type SettingName } from './fixture.js';

export interface Pair {
  draft: string;
  target: string;
}

/** One thing that is wrong with a draft, and what `verify` must say. */
export interface Case {
  check: string;
  what: string;
  break: (pair: Pair) => void;
  /** In the check's message: what was found, and what the server would do. */
  says: RegExp;
  /** Other checks that must fail too, being about the same field. `config unchanged` fails with every changed size. */
  also?: string[];
  setting?: SettingName;
  engine?: Engine;
}

const AUX = 'eagle_aux_hidden_state_layer_ids';

const config = (edit: (config: Json) => void) => (pair: Pair) => {
  editJson(pair.draft, 'config.json', edit);
};
const set = (values: Json) => config((json) => Object.assign(json, values));
const remove = (key: string) =>
  config((json) => {
    Reflect.deleteProperty(json, key);
  });
const rope = (values: Json) => config((json) => Object.assign(json['rope_scaling'] as Json, values));
const nested = (values: Json) => config((json) => Object.assign(json['eagle_config'] as Json, values));
const contract = (values: Json) => (pair: Pair) => {
  editJson(pair.draft, 'eyas.json', (json) => Object.assign(json['contract'] as Json, values));
};
const tensors =
  (edit: Parameters<typeof editTensors>[1]) =>
  ({ draft }: Pair) => {
    editTensors(draft, edit);
  };
const renamed = (from: RegExp, to: string) =>
  tensors((all) => {
    for (const name of Object.keys(all).filter((key) => from.test(key))) {
      all[name.replace(from, to)] = all[name]!;
      Reflect.deleteProperty(all, name);
    }
  });
const target = (edit: (config: Json) => void) => (pair: Pair) => {
  editJson(pair.target, 'config.json', edit);
};

const q = 'midlayer.self_attn.q_proj.weight';

const files: Case[] = [
  {
    check: 'config.json',
    what: 'not JSON',
    break: ({ draft }) => {
      writeFileSync(join(draft, 'config.json'), '{"model_type": "llama",}');
    },
    says: /config\.json:1:24: invalid JSON.*engines stop at start/,
    also: [
      'architectures',
      'model_type',
      'speculators format',
      'num_hidden_layers',
      'hidden_act',
      'hidden_size',
      'attention heads',
      'tie_word_embeddings',
      'biases',
      'norm flags',
      'vocab_size',
      'draft_vocab_size',
      'd2t',
      'tensor shapes',
      'max_position_embeddings',
      'rope_theta',
      'rope_scaling',
      'mrope_section',
      'mrope_interleaved',
      'partial_rotary_factor',
      'positions',
      'aux layer ids',
      'trained aux layers',
      'aux layer range',
      'num_aux_hidden_states',
      'use_aux_hidden_state',
      'config unchanged',
    ],
  },
  {
    check: 'model.safetensors',
    what: 'cut short',
    break: ({ draft }) => {
      truncateSync(join(draft, 'model.safetensors'), 5000);
    },
    says: /bytes.*engines stop at start/,
    also: [
      'd2t',
      'd2t target ids',
      't2d',
      'stop tokens',
      'tensor names',
      'tensor shapes',
      'tensor dtypes',
      'finite weights',
      'trained weights',
      'embed_tokens.weight',
      'num_aux_hidden_states',
    ],
  },
  {
    check: 'eyas.json',
    what: 'absent',
    break: ({ draft }) => {
      unlinkSync(join(draft, 'eyas.json'));
    },
    says: /accept length falls without an error/,
    also: [
      'positions',
      'trained aux layers',
      'aux layer range',
      'multimodal embedding',
      'deepstack',
      'position rule',
      'config unchanged',
      'target config',
      'target weights',
    ],
  },
  {
    check: 'eyas.json',
    what: 'of a later format',
    break: ({ draft }) => {
      editJson(draft, 'eyas.json', (json) => (json['formatVersion'] = 2));
    },
    says: /formatVersion/,
    also: [
      'positions',
      'trained aux layers',
      'aux layer range',
      'multimodal embedding',
      'deepstack',
      'position rule',
      'config unchanged',
      'target config',
      'target weights',
    ],
  },
  {
    check: 'target',
    what: 'absent',
    break: (pair) => {
      rmSync(pair.target, { recursive: true });
    },
    says: /cannot be compared/,
    also: [
      'hidden_size',
      'vocab_size',
      'd2t target ids',
      't2d',
      'stop tokens',
      'max_position_embeddings',
      'rope_theta',
      'rope_scaling',
      'mrope_section',
      'mrope_interleaved',
      'partial_rotary_factor',
      'trained aux layers',
      'aux layer range',
      'engine support',
      'multimodal embedding',
      'deepstack',
      'target config',
      'target weights',
    ],
  },
];

const architecture: Case[] = [
  {
    check: 'architectures',
    what: 'a plain Llama',
    break: set({ architectures: ['LlamaForCausalLM'] }),
    says: /received \["LlamaForCausalLM"\].*SGLang.*vLLM/,
  },
  {
    check: 'model_type',
    what: 'the target’s',
    break: set({ model_type: 'qwen2_5_vl' }),
    says: /config class/,
  },
  {
    check: 'speculators format',
    what: 'its keys',
    break: set({ transformer_layer_config: {} }),
    says: /SGLang does not read.*norm_before_residual/,
  },
  {
    check: 'num_hidden_layers',
    what: 'two',
    break: set({ num_hidden_layers: 2 }),
    says: /weights are missing/,
  },
  { check: 'hidden_act', what: 'gelu', break: set({ hidden_act: 'gelu' }), says: /SGLang stops at start/ },
  {
    check: 'hidden_size',
    what: 'another',
    break: set({ hidden_size: 32 }),
    says: /expected 16, the target's, received 32.*engines fail/,
    also: ['tensor shapes', 'num_aux_hidden_states', 'config unchanged'],
  },
  {
    check: 'hidden_size',
    what: 'target_hidden_size null',
    break: set({ target_hidden_size: null }),
    says: /target_hidden_size.*vLLM also at null/,
  },
  {
    check: 'attention heads',
    what: 'key heads that do not divide the heads',
    break: set({ num_key_value_heads: 3 }),
    says: /divisor of 2, received 3.*engines fail/,
    also: ['tensor shapes', 'config unchanged'],
  },
  {
    check: 'attention heads',
    what: 'an odd head',
    break: set({ head_dim: 7 }),
    says: /even number, received 7/,
    also: ['tensor shapes', 'mrope_section', 'config unchanged'],
  },
  {
    check: 'tie_word_embeddings',
    what: 'true',
    break: set({ tie_word_embeddings: true }),
    says: /SGLang uses the embedding as lm_head/,
  },
  {
    check: 'biases',
    what: 'attention_bias',
    break: set({ attention_bias: true }),
    says: /vLLM.*SGLang o alone/,
  },
  { check: 'biases', what: 'bias', break: set({ bias: true }), says: /SGLang gives fc a bias/ },
  {
    check: 'norm flags',
    what: 'norm_before_residual',
    break: set({ norm_before_residual: true }),
    says: /vLLM norms the residual, SGLang does not/,
  },
  {
    check: 'norm flags',
    what: 'norm_before_fc in eagle_config',
    break: set({ eagle_config: { norm_before_fc: true } }),
    says: /input_norm whose weights are missing/,
  },
  {
    check: 'norm flags',
    what: 'fc_norm',
    break: set({ fc_norm: true }),
    says: /fc_norm weights that are missing/,
  },
  {
    check: 'norm flags',
    what: 'norm_output',
    break: set({ norm_output: true }),
    says: /feed the normed hidden/,
  },
];

const vocabulary: Case[] = [
  {
    check: 'vocab_size',
    what: 'the tokenizer’s',
    break: set({ vocab_size: 62 }),
    says: /expected 64, the target config's.*vLLM.*SGLang/,
    also: ['config unchanged'],
  },
  {
    check: 'draft_vocab_size',
    what: 'absent',
    break: remove('draft_vocab_size'),
    says: /SGLang reads it directly and stops at start/,
    also: ['d2t', 'attention heads', 'tensor shapes', 'num_aux_hidden_states', 'config unchanged'],
  },
  {
    check: 'draft_vocab_size',
    what: 'null',
    break: set({ draft_vocab_size: null }),
    says: /SGLang takes the target's lm_head/,
    also: ['d2t', 'attention heads', 'tensor shapes', 'num_aux_hidden_states', 'config unchanged'],
  },
  {
    check: 'd2t',
    what: 'absent from a reduced vocabulary',
    break: tensors((all) => Reflect.deleteProperty(all, 'd2t')),
    says: /take draft ids for target ids/,
    also: ['t2d'],
  },
  {
    check: 'd2t',
    what: 'too short',
    break: tensors((all) => {
      all['d2t'] = { dtype: 'int64', shape: [15], data: (all['d2t']!.data as BigInt64Array).slice(0, 15) };
    }),
    says: /expected shape \[16\], received \[15\]; vLLM stops/,
    also: ['t2d'],
  },
  {
    check: 'd2t target ids',
    what: 'target ids in place of offsets',
    break: tensors((all) => {
      const offsets = all['d2t']!.data as BigInt64Array;
      offsets.set(offsets.map((offset, id) => offset + BigInt(id)));
    }),
    says: /expected 0 to 63.*offsets.*engines index outside/,
    also: ['t2d', 'stop tokens'],
  },
  {
    check: 'd2t target ids',
    what: 'one target id twice',
    break: tensors((all) => {
      const offsets = all['d2t']!.data as BigInt64Array;
      offsets[3] = 7n - 3n; // that of draft id 2
    }),
    says: /draft id 3 maps to 7 after 7, expected ascending/,
    also: ['t2d'],
  },
  {
    check: 't2d',
    what: 'other ids than d2t',
    break: tensors((all) => {
      const marks = all['t2d']!.data as Uint8Array;
      marks[7] = 0;
      marks[9] = 1;
    }),
    says: /other ids than d2t; engines draft by d2t/,
  },
  {
    check: 't2d',
    what: 'of the tokenizer’s size',
    break: tensors((all) => {
      all['t2d'] = { dtype: 'bool', shape: [62], data: (all['t2d']!.data as Uint8Array).slice(0, 62) };
    }),
    says: /expected shape \[64\].*received \[62\]/,
  },
  {
    check: 'stop tokens',
    what: 'a target that ends turns with an id outside the draft vocabulary',
    break: (pair) => {
      editJson(pair.target, 'generation_config.json', (json) => (json['eos_token_id'] = [3, 4]));
    },
    says: /^4 cannot be drafted.*rejected in both engines/,
  },
];

const weights: Case[] = [
  {
    check: 'tensor names',
    what: 'a weight missing',
    break: tensors((all) => Reflect.deleteProperty(all, 'midlayer.hidden_norm.weight')),
    says: /missing midlayer\.hidden_norm\.weight: SGLang says nothing/,
  },
  {
    check: 'tensor names',
    what: 'an unknown weight',
    break: tensors((all) => (all['fc.bias'] = { dtype: 'float32', shape: [1], data: Float32Array.of(1) })),
    says: /unknown fc\.bias: SGLang ignores.*vLLM stops/,
  },
  {
    check: 'tensor names',
    what: 'the layer by number',
    break: renamed(/^midlayer\./, 'layers.0.'),
    says: /layers\.0\.self_attn.*SGLang before May 2026 drops/,
  },
  {
    check: 'tensor names',
    what: 'the prefix model.',
    break: renamed(/^fc\./, 'model.fc.'),
    says: /prefix model\. model\.fc\.weight: vLLM/,
  },
  {
    check: 'tensor shapes',
    what: 'a config of another MLP',
    break: set({ intermediate_size: 48 }),
    says: /gate_proj\.weight: expected \[48,16\], received \[32,16\].*stop at these weights/,
    also: ['config unchanged'],
  },
  {
    check: 'tensor shapes',
    what: 'a head of the whole vocabulary',
    break: tensors((all) => {
      all['lm_head.weight'] = { dtype: 'float32', shape: [64, 16], data: new Float32Array(1024).fill(1) };
    }),
    says: /lm_head\.weight: expected \[16,16\], received \[64,16\]/,
  },
  {
    check: 'tensor dtypes',
    what: 'an integer weight',
    break: tensors((all) => (all[q] = { dtype: 'int32', shape: [16, 32], data: new Int32Array(512) })),
    says: /q_proj\.weight: expected BF16 or F16 or F32, received I32.*noise/,
  },
  {
    check: 'finite weights',
    what: 'NaN',
    break: tensors((all) => {
      (all[q]!.data as Uint16Array)[5] = 0x7fc0;
    }),
    says: /q_proj\.weight: NaN or infinity.*no token is accepted/,
  },
  {
    check: 'finite weights',
    what: 'infinity in float32',
    break: tensors((all) => {
      const data = new Float32Array(512).fill(0.5);
      data[9] = -Infinity;
      all[q] = { dtype: 'float32', shape: [16, 32], data };
    }),
    says: /NaN or infinity/,
  },
  {
    check: 'trained weights',
    what: 'fc all zeros',
    break: tensors((all) => {
      (all['fc.weight']!.data as Uint16Array).fill(0x8000); // −0
    }),
    says: /^fc\.weight: all zeros.*accept length of 1/,
  },
  {
    check: 'embed_tokens.weight',
    what: 'not the target’s',
    break: tensors((all) => {
      all['embed_tokens.weight'] = {
        dtype: 'float32',
        shape: [64, 16],
        data: new Float32Array(1024).fill(1),
      };
    }),
    says: /SGLang replaces it by the target's and vLLM keeps it/,
  },
];

const positions: Case[] = [
  {
    check: 'max_position_embeddings',
    what: '64',
    break: set({ max_position_embeddings: 64 }),
    says: /at least 128, the target's, received 64; SGLang stops with a ValueError/,
    also: ['config unchanged'],
  },
  {
    check: 'rope_theta',
    what: 'absent',
    break: remove('rope_theta'),
    says: /expected 1000000, the target's, received nothing, which engines take for 10000/,
    also: ['config unchanged'],
  },
  {
    check: 'rope_theta',
    what: 'in rope_parameters, which go first',
    break: set({ rope_parameters: { rope_type: 'default', rope_theta: 10_000, mrope_section: [2, 1, 1] } }),
    says: /received 10000/,
    also: ['config unchanged'],
  },
  {
    check: 'rope_scaling',
    what: 'none where the target has YaRN',
    setting: 'yarn',
    break: set({ rope_scaling: null }),
    says: /expected kind yarn, the target's, received default.*other angles/,
    also: ['config unchanged'],
  },
  {
    check: 'rope_scaling',
    what: 'another factor',
    setting: 'yarn',
    break: rope({ factor: 2 }),
    says: /"factor":4.*received.*"factor":2/,
    also: ['config unchanged'],
  },
  {
    check: 'mrope_section',
    what: 'of another family',
    break: rope({ mrope_section: [1, 1, 2] }),
    says: /expected \[2,1,1\], the target's, received \[1,1,2\].*everything after an image is not/,
    also: ['config unchanged'],
  },
  {
    check: 'mrope_section',
    what: 'that does not fill the head',
    break: set({ head_dim: 16 }),
    says: /expected a sum of 8 .*received 4; both engines stop/,
    also: ['tensor shapes', 'config unchanged'],
  },
  {
    check: 'mrope_interleaved',
    what: 'false for Qwen3-VL',
    setting: 'deepstack',
    break: rope({ mrope_interleaved: false }),
    says: /expected true, the target's, received false.*falls after an image/,
    also: ['config unchanged'],
  },
  {
    check: 'partial_rotary_factor',
    what: 'half, for SGLang alone',
    break: set({ partial_rotary_factor: 0.5 }),
    says: /received 0\.5 and 1; the engine rotates another share/,
    also: ['mrope_section', 'config unchanged'],
  },
  {
    check: 'positions',
    what: 'no mrope_section for a draft of multimodal positions',
    break: set({ rope_scaling: null }),
    says: /trained on mrope positions.*no mrope_section: SGLang gives the draft index/,
    also: ['config unchanged'],
  },
  {
    check: 'positions',
    what: 'mrope_section for a draft of the index',
    setting: 'vllm',
    break: set({ rope_scaling: { rope_type: 'default', mrope_section: [2, 1, 1] } }),
    says: /trained on index positions.*has an mrope_section/,
    also: ['config unchanged'],
  },
];

const auxLayers: Case[] = [
  {
    check: 'aux layer ids',
    what: 'for vLLM alone',
    setting: 'custom',
    break: nested({ [AUX]: null }),
    says: /SGLang reads the nested one alone and captures its default/,
  },
  {
    check: 'aux layer ids',
    what: 'for SGLang alone',
    setting: 'custom',
    break: remove(AUX),
    says: /vLLM's V2 runner captures its default layers, its V1 runner those one below/,
    also: ['trained aux layers'],
  },
  {
    check: 'aux layer ids',
    what: 'in one counting',
    setting: 'custom',
    break: nested({ [AUX]: [1, 4, 6] }),
    says: /expected \[0,3,5\].*received \[1,4,6\].*different layers/,
  },
  {
    check: 'trained aux layers',
    what: 'custom ones that config.json does not name',
    setting: 'custom',
    break: config((json) => {
      for (const key of [AUX, 'eagle_config', 'num_aux_hidden_states']) Reflect.deleteProperty(json, key);
    }),
    says: /trained on \[1,4,6\], but config\.json names no layers: both engines capture \[2,4,5\]/,
  },
  {
    check: 'trained aux layers',
    what: 'others than config.json names',
    setting: 'custom',
    break: config((json) => {
      json[AUX] = [2, 4, 6];
      json['eagle_config'] = { [AUX]: [1, 3, 5] };
    }),
    says: /trained on \[1,4,6\], but config\.json names \[2,4,6\]/,
  },
  {
    check: 'aux layer range',
    what: 'the last boundary in SGLang',
    setting: 'custom',
    break: (pair) => {
      contract({ auxLayerIds: [1, 4, 8] })(pair);
      config((json) => {
        json[AUX] = [1, 4, 8];
        json['eagle_config'] = { [AUX]: [0, 3, 7] };
      })(pair);
    },
    says: /from 1 to 7, received \[1,4,8\].*fc gets another width/,
  },
  {
    check: 'num_aux_hidden_states',
    what: 'two for an fc of three',
    break: set({ num_aux_hidden_states: 2 }),
    says: /fc reads 3, num_aux_hidden_states says 2.*stop at the width of fc/,
    also: ['tensor shapes', 'config unchanged'],
  },
  {
    check: 'use_aux_hidden_state',
    what: 'false',
    break: set({ eagle_config: { use_aux_hidden_state: false } }),
    says: /vLLM leaves fc out/,
  },
];

const contracts: Case[] = [
  {
    check: 'engine support',
    what: 'a target that no engine drafts for',
    break: target((json) => (json['architectures'] = ['Qwen2VLForConditionalGeneration'])),
    says: /SGLang has no EAGLE-3 for Qwen2VLForConditionalGeneration/,
    also: ['target config'],
  },
  {
    check: 'engine support',
    what: 'a target that is not in the table',
    break: target((json) => (json['architectures'] = ['SomethingElse'])),
    says: /whether SGLang has EAGLE-3 for SomethingElse is not known/,
    also: ['target config'],
  },
  {
    check: 'multimodal embedding',
    what: 'placeholder for SGLang',
    break: contract({ multimodalEmbedding: 'placeholder' }),
    says: /trained with placeholder, but SGLang has merged: .*accept length falls after an image/,
  },
  {
    check: 'multimodal embedding',
    what: 'a draft for SGLang served by vLLM',
    engine: 'vllm',
    break: () => undefined,
    says: /trained with merged, but vLLM has placeholder/,
  },
  {
    check: 'deepstack',
    what: 'after, for SGLang',
    setting: 'deepstack',
    break: contract({ deepstack: 'after' }),
    says: /trained with after, but SGLang has before/,
  },
  {
    check: 'position rule',
    what: 'that of transformers 5',
    break: contract({ positionRule: 'transformers5' }),
    says: /rotated otherwise after every clip/,
  },
  {
    check: 'config unchanged',
    what: 'another eps',
    break: set({ rms_norm_eps: 1e-5 }),
    says: /rmsNormEps: 0\.000001 when exported, 0\.00001 now; engines read config\.json alone/,
  },
  {
    check: 'target config',
    what: 'another family',
    break: (pair) => {
      writeTarget(pair.target, {
        ...settings.yarn.config,
        rope_theta: 1_000_000,
        rope_scaling: settings.sglang.config['rope_scaling'],
      });
    },
    says: /trained for Qwen2_5_VLForConditionalGeneration, received Qwen3ForCausalLM.*accept length is near 1/,
  },
  {
    check: 'target config',
    what: 'another size of the same family',
    break: target((json) => (json['num_hidden_layers'] = 10)),
    says: /another Qwen2_5_VLForConditionalGeneration, of another config/,
    also: ['trained aux layers', 'target weights'],
  },
  {
    check: 'target weights',
    what: 'another fine-tuning',
    break: (pair) => {
      editTensors(pair.target, (all) => {
        (all['model.layers.7.self_attn.v_proj.weight']!.data as Float32Array)[0] = 0.25;
      });
    },
    says: /another fine-tuning.*engines start, and accept length falls/,
  },
];

export const cases: Case[] = [
  ...files,
  ...architecture,
  ...vocabulary,
  ...weights,
  ...positions,
  ...auxLayers,
  ...contracts,
];
