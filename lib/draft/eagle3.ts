import type { ExtraKeyVariables, Parameter, Tape, Variable } from '../autograd.js';
import { Linear, RMSNorm, SwiGLU } from '../nn/layers.js';
import { ParameterSet } from '../nn/parameters.js';
import type { RotaryConfig } from '../models/target.js';
import { Rotary, type RopeTables } from '../models/rotary.js';
import { ops, scope, tensor, type Tensor } from '../tensor.js';
import type { DraftVocabulary } from './vocabulary.js';

/** Shape of an EAGLE-3 draft: one decoder layer over [embedding, hidden], a fused feature projection, a reduced head. */
export interface Eagle3Config {
  /** H: the target's hidden size too, since the embedding is shared. */
  hiddenSize: number;
  intermediateSize: number;
  numHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  rmsNormEps: number;
  vocabSize: number;
  draftVocabSize: number;
  /** How many of the target's layers `fc` reads. */
  numAuxHiddenStates: number;
  maxPositionEmbeddings: number;
  rotary: RotaryConfig;
  /** Of its positions: 3 with a multimodal rope, 1 where the server gives it the absolute index. */
  axes: 1 | 3;
}

export interface Eagle3Init {
  seed: number;
  std: number;
  /** [V, H] of the target: rows of the draft vocabulary become the head's first weights; absent: random. */
  lmHead?: Tensor;
  /** [H], the target's final norm; absent: ones. */
  finalNorm?: Tensor;
}

/** Keys and values of one TTT step's rows. */
export interface StepKeys {
  k: Variable;
  v: Variable;
}

/** Names and shapes of the draft's tensors, as engines load them (reference: SGLang `models/llama_eagle3.py`). */
export function eagle3Shapes(config: Eagle3Config): Record<string, number[]> {
  const { hiddenSize: h, intermediateSize: i, headDim: d, numHeads, numKeyValueHeads } = config;
  return {
    'fc.weight': [h, config.numAuxHiddenStates * h],
    'midlayer.input_layernorm.weight': [h],
    'midlayer.hidden_norm.weight': [h],
    'midlayer.self_attn.q_proj.weight': [numHeads * d, 2 * h],
    'midlayer.self_attn.k_proj.weight': [numKeyValueHeads * d, 2 * h],
    'midlayer.self_attn.v_proj.weight': [numKeyValueHeads * d, 2 * h],
    'midlayer.self_attn.o_proj.weight': [h, numHeads * d],
    'midlayer.post_attention_layernorm.weight': [h],
    'midlayer.mlp.gate_proj.weight': [i, h],
    'midlayer.mlp.up_proj.weight': [i, h],
    'midlayer.mlp.down_proj.weight': [h, i],
    'norm.weight': [h],
    'lm_head.weight': [config.draftVocabSize, h],
  };
}

/** First weights: matrices normal, norms one, head and final norm copied from the target where they are given. */
export function initialWeights(
  config: Eagle3Config,
  init: Eagle3Init,
  vocabulary: DraftVocabulary,
): Record<string, Tensor> {
  const weights: Record<string, Tensor> = {};
  Object.entries(eagle3Shapes(config)).forEach(([name, shape], index) => {
    const seed = (BigInt(init.seed) << 16n) | BigInt(index);
    weights[name] = scope(() => {
      if (name === 'lm_head.weight' && init.lmHead) {
        return ops.gatherRows(init.lmHead, tensor(vocabulary.targetIds, [vocabulary.size]));
      }
      if (name === 'norm.weight' && init.finalNorm) return init.finalNorm.cast('float32');
      if (shape.length === 2) return ops.randomNormal(shape, init.std, seed);
      const ones = ops.zeros(shape, 'float32');
      ones.fill(1);
      return ones;
    });
  });
  return weights;
}

/**
 * EAGLE-3 draft model (Li et al. 2025, arXiv:2503.01840). The formulas are section 2 of the training contract; the same
 * methods serve training (a recording tape) and drafting (a tape that records nothing).
 */
export class Eagle3Draft {
  readonly parameters: ParameterSet;
  readonly #fc: Linear;
  readonly #inputNorm: RMSNorm;
  readonly #hiddenNorm: RMSNorm;
  /** The columns of q, k and v, or of some, that read the embedding, and those that read the hidden state. */
  readonly #ofEmbedding: { qkv: Parameter; kv: Parameter };
  readonly #ofHidden: { qkv: Linear; q: Linear; kv: Linear };
  readonly #o: Linear;
  readonly #postNorm: RMSNorm;
  readonly #mlp: SwiGLU;
  readonly #norm: RMSNorm;
  readonly lmHead: Linear;
  readonly #rotary: Rotary;

  /** Takes over `weights`, named and shaped as {@link eagle3Shapes} says. */
  constructor(
    readonly config: Eagle3Config,
    weights: Record<string, Tensor>,
    options: { compute: 'float32' | 'bfloat16'; trained: boolean },
  ) {
    const shapes = eagle3Shapes(config);
    for (const [name, shape] of Object.entries(shapes)) {
      const weight = weights[name];
      if (weight?.shape.join() !== shape.join()) {
        throw new Error(
          `draft tensor ${name}: expected shape [${shape.join(', ')}], received ` +
            (weight ? `[${weight.shape.join(', ')}]` : 'nothing'),
        );
      }
    }
    this.parameters = new ParameterSet(options);
    const [attention, mlp] = ['midlayer.self_attn', 'midlayer.mlp'];
    const take = (name: string) => weights[`${name}.weight`]!;
    const linear = (name: string) => new Linear(this.parameters.matrix(`${name}.weight`, take(name)));
    const stack = (...names: string[]) =>
      this.parameters.stack(Object.fromEntries(names.map((name) => [`${name}.weight`, take(name)])));
    const norm = (name: string) =>
      new RMSNorm(this.parameters.vector(`${name}.weight`, take(name)), config.rmsNormEps);
    // In the order of the shapes: the optimizer's moments and the gradient norm follow it.
    this.#fc = linear('fc');
    this.#inputNorm = norm('midlayer.input_layernorm');
    this.#hiddenNorm = norm('midlayer.hidden_norm');
    const qkv = stack(`${attention}.q_proj`, `${attention}.k_proj`, `${attention}.v_proj`);
    const queries = this.queryColumns;
    const rows = {
      qkv: [0, qkv.value.shape[0]!],
      q: [0, queries],
      kv: [queries, qkv.value.shape[0]! - queries],
    } as const;
    const width = config.hiddenSize;
    const ofEmbedding = (name: 'qkv' | 'kv') => qkv.part(`${name} of embedding`, rows[name], [0, width]);
    const ofHidden = (name: 'qkv' | 'q' | 'kv') =>
      new Linear(qkv.part(`${name} of hidden`, rows[name], [width, width]));
    this.#ofEmbedding = { qkv: ofEmbedding('qkv'), kv: ofEmbedding('kv') };
    this.#ofHidden = { qkv: ofHidden('qkv'), q: ofHidden('q'), kv: ofHidden('kv') };
    this.#o = linear(`${attention}.o_proj`);
    this.#postNorm = norm('midlayer.post_attention_layernorm');
    const gateUp = new Linear(stack(`${mlp}.gate_proj`, `${mlp}.up_proj`));
    this.#mlp = new SwiGLU(gateUp, linear(`${mlp}.down_proj`));
    this.#norm = norm('norm');
    this.lmHead = linear('lm_head');
    this.#rotary = new Rotary(config.rotary);
  }

  /** Target features [n, aux·H] → hidden [n, H]. */
  project(tape: Tape, features: Tensor): Variable {
    return this.#fc.forward(tape, tape.constant(features));
  }

  /**
   * What embeddings [n, H] add to q, k and v, before they are rotated: [n, q+k+v]. Attention reads concat(RMSNorm(embedding),
   * RMSNorm(hidden)); its product is split, because a token's embedding is the same at every TTT step.
   */
  embeddedQueriesAndKeys(tape: Tape, embedding: Tensor): Variable {
    return this.#embedded(tape, embedding, this.#ofEmbedding.qkv);
  }

  /** The same for k and v alone: [n, k+v]. */
  embeddedKeys(tape: Tape, embedding: Tensor): Variable {
    return this.#embedded(tape, embedding, this.#ofEmbedding.kv);
  }

  #embedded(tape: Tape, embedding: Tensor, weight: Parameter): Variable {
    return tape.normedLinear(embedding, this.#inputNorm.weight, this.#inputNorm.eps, weight);
  }

  /** RMSNorm(hidden), what q, k and v read beside the embedding. */
  normHidden(tape: Tape, hidden: Variable): Variable {
    return this.#hiddenNorm.forward(tape, hidden);
  }

  /** cos and sin at positions [axes, n], all moved on by `offset`. */
  rotaryTables(positions: Tensor, offset = 0): RopeTables {
    return this.#rotary.tables(positions, offset);
  }

  /** Of the q columns of {@link embeddedQueriesAndKeys}, which are written over, and the normed hidden of the same rows. */
  queries(tape: Tape, embedded: Variable, normed: Variable, { cos, sin }: RopeTables): Variable {
    const [q] = tape.splitHeads(this.#ofHidden.q.forward(tape, normed, embedded), this.config.numHeads);
    return tape.rope(q!, cos, sin);
  }

  /** Of {@link embeddedKeys}, in the same way. */
  keys(tape: Tape, embedded: Variable, normed: Variable, { cos, sin }: RopeTables): StepKeys {
    const heads = this.config.numKeyValueHeads;
    const [k, v] = tape.splitHeads(this.#ofHidden.kv.forward(tape, normed, embedded), heads, heads);
    return { k: tape.rope(k!, cos, sin), v: v! };
  }

  /** {@link queries} and {@link keys} of the same rows, of {@link embeddedQueriesAndKeys}. */
  queriesAndKeys(
    tape: Tape,
    embedded: Variable,
    normed: Variable,
    { cos, sin }: RopeTables,
  ): { q: Variable; keys: StepKeys } {
    const { numHeads, numKeyValueHeads: heads } = this.config;
    const rows = this.#ofHidden.qkv.forward(tape, normed, embedded);
    const [q, k, v] = tape.splitHeads(rows, numHeads, heads, heads);
    return { q: tape.rope(q!, cos, sin), keys: { k: tape.rope(k!, cos, sin), v: v! } };
  }

  /** Columns of the queries in {@link embeddedQueriesAndKeys}: the first. */
  get queryColumns(): number {
    return this.config.numHeads * this.config.headDim;
  }

  /** Attention, output projection, MLP; both residuals add to the un-normed hidden. [n, H], before the final norm. */
  layer(
    tape: Tape,
    hidden: Variable,
    q: Variable,
    prefix: StepKeys,
    ranges: { begin: Tensor; end: Tensor },
    extras: readonly ExtraKeyVariables[] = [],
  ): Variable {
    const { compute } = this.parameters.options;
    const attended = tape.attention(q, prefix.k, prefix.v, ranges.begin, ranges.end, extras, compute);
    const residual = tape.add(hidden, this.#o.forward(tape, tape.mergeHeads(attended)));
    return tape.add(residual, this.#mlp.forward(tape, this.#postNorm.forward(tape, residual)));
  }

  /** The input of the draft's head. */
  finalNorm(tape: Tape, hidden: Variable): Variable {
    return this.#norm.forward(tape, hidden);
  }

  dispose(): void {
    for (const weight of Object.values(this.#ofEmbedding)) weight.dispose();
    for (const { weight } of Object.values(this.#ofHidden)) weight.dispose();
    this.parameters.dispose();
    this.#rotary.dispose();
  }
}
