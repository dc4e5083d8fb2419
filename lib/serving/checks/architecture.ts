import { DRAFT_ARCHITECTURE, draftFlag, readDraftConfig } from '../draft-config.js';
import { CONFIG_FILE } from '../draft-files.js';
import { ok, show, wrong, type Check, type Finding, type Subject } from './subject.js';

/** A key that must have one value, or be absent where `otherwise`, the engines' default, is that value. */
function equals(key: string, expected: unknown, consequence: string, otherwise?: unknown): Check {
  return {
    name: key,
    run({ config }) {
      const value = config()[key] ?? otherwise;
      if (show(value) === show(expected)) return ok(show(expected));
      return wrong(`expected ${show(expected)}, received ${show(config()[key])}; ${consequence}`);
    },
  };
}

/** Keys that must be false or absent, at the top level and in eagle_config. */
function off(name: string, consequences: Record<string, string>): Check {
  return {
    name,
    run({ config }) {
      const set = Object.keys(consequences).filter(
        (key) => ![undefined, null, false].includes(draftFlag(config(), key) as null),
      );
      if (set.length === 0) return ok(`${Object.keys(consequences).join(', ')}: off`);
      return wrong(
        set.map((key) => `${key} is ${show(draftFlag(config(), key))}: ${consequences[key]!}`).join('; '),
      );
    },
  };
}

function hiddenSize({ config, target }: Subject): Finding {
  const { hidden_size: width, target_hidden_size: targetWidth } = config();
  const expected = target().hiddenSize;
  if (width !== expected) {
    return wrong(
      `expected ${expected}, the target's, received ${show(width)}; SGLang gives the draft the target's embedding, ` +
        'whose rows then have another width, and both engines fail in fc or in the first layer',
    );
  }
  // vLLM multiplies the key by the number of layers as soon as it is there.
  if (targetWidth === undefined || targetWidth === expected) return ok(`${expected}, the target's`);
  return wrong(
    `target_hidden_size: expected ${expected} or no such key, received ${show(targetWidth)}; ` +
      'both engines build fc with another width and stop at its weight (vLLM also at null)',
  );
}

function attentionHeads({ config }: Subject): Finding {
  const { numHeads, numKeyValueHeads, headDim } = readDraftConfig(config(), CONFIG_FILE);
  if (numHeads % numKeyValueHeads !== 0) {
    return wrong(
      `num_key_value_heads: expected a divisor of ${numHeads}, received ${numKeyValueHeads}; ` +
        'both engines fail when they split the heads',
    );
  }
  if (headDim % 2 !== 0)
    return wrong(`head_dim: expected an even number, received ${headDim}; rotary embedding takes pairs`);
  return ok(`${numHeads} heads, ${numKeyValueHeads} for keys and values, of ${headDim}`);
}

export const architectureChecks: Check[] = [
  equals(
    'architectures',
    [DRAFT_ARCHITECTURE],
    'SGLang stops at a class it does not know, or runs a plain Llama on weights it has no use for; ' +
      'vLLM puts Eagle3 before other names and stops where that is no class either',
  ),
  equals('model_type', 'llama', 'transformers builds another config class, whose keys engines do not find'),
  {
    name: 'speculators format',
    run({ config }) {
      const keys = ['speculators_model_type', 'transformer_layer_config'].filter((key) => key in config());
      if (keys.length === 0) return ok('not used');
      return wrong(
        `${keys.join(', ')}: SGLang does not read this format; vLLM does, and there norm_before_residual is true by default`,
      );
    },
  },
  equals(
    'num_hidden_layers',
    1,
    'engines norm the input of further layers differently, and their weights are missing',
  ),
  equals('hidden_act', 'silu', 'SGLang stops at start with "Unsupported activation"', 'silu'),
  { name: 'hidden_size', run: hiddenSize },
  { name: 'attention heads', run: attentionHeads },
  equals(
    'tie_word_embeddings',
    false,
    'SGLang uses the embedding as lm_head: it has other rows than the draft vocabulary, and every token is wrong',
    false,
  ),
  off('biases', {
    attention_bias: 'vLLM gives q, k, v and o biases, SGLang o alone, and neither finds their weights',
    bias: 'SGLang gives fc a bias, vLLM q, k and v, and no weight fills it',
    mlp_bias: 'vLLM gives the MLP biases that no weight fills',
    qkv_bias: 'vLLM gives q, k and v biases that no weight fills',
  }),
  off('norm flags', {
    norm_before_residual: 'vLLM norms the residual, SGLang does not; the draft was trained without',
    norm_before_fc: 'engines that know it apply an input_norm whose weights are missing, others ignore it',
    fc_norm: 'both engines norm each aux state by fc_norm weights that are missing',
    use_aux_norm: 'SGLang norms each aux state by weights that are missing',
    norm_output:
      'both engines feed the normed hidden state back; the draft was trained on the one before the norm',
  }),
];
