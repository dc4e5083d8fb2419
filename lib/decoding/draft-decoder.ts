import { Rotary } from '../models/rotary.js';
import { Eagle3Draft, type Eagle3Config } from '../draft/eagle3.js';
import type { DraftVocabulary } from '../draft/vocabulary.js';
import { cast, keep, ops, scope, tensor, type Tensor } from '../tensor.js';
import { native, type DraftChain } from '../native.js';
import { DraftChainOfOperations } from './draft-chain.js';
import { DecoderCache } from './kv-cache.js';

/** Slots with known target features that a draft reads before it proposes. n slots. */
export interface DraftContext {
  /** [n, aux·H]: aux hidden states of the slots. */
  features: Tensor;
  /** [n, H]: embedding of the token after each slot. */
  embeddings: Tensor;
  /** [axes, n] row-major: positions of the slots. */
  positions: Float32Array;
}

/**
 * Chain drafting with a KV cache, as servers draft: the same formulas as `Eagle3Draft`, one sequence at a time. Row i of the
 * cache holds slot i; the rows of proposed tokens lie behind and are overwritten by the next round.
 */
export class DraftDecoder {
  readonly #chain: DraftChain;
  readonly #rotary: Rotary;
  readonly #cache: DecoderCache;

  /**
   * @param weights named as `eagle3Shapes` says; they are copied
   * @param dtype of the matrices: bfloat16, as they are exported and served, where the CPU multiplies it. Proposals are only
   *   proposed: their rounding cannot reach the text
   */
  constructor(
    readonly config: Eagle3Config,
    weights: Record<string, Tensor>,
    readonly vocabulary: DraftVocabulary,
    readonly embedTokens: Tensor,
    dtype: 'float32' | 'bfloat16' = multipliesBFloat16(embedTokens) ? 'bfloat16' : 'float32',
  ) {
    this.#chain =
      embedTokens.device === 'cpu'
        ? nativeChain(config, weights, vocabulary, embedTokens, dtype)
        : new DraftChainOfOperations(
            new Eagle3Draft(config, keep(scope(() => copies(weights))), { compute: dtype, trained: false }),
            vocabulary,
            embedTokens,
          );
    this.#rotary = new Rotary(config.rotary);
    this.#cache = new DecoderCache({ ...config, numLayers: 1 });
  }

  /** Forgets the sequence. */
  reset(): void {
    this.#cache.truncate(0);
  }

  /**
   * Reads the slots whose target features are new, then proposes `count` tokens after the last of them, greedily.
   * Returns target ids: proposal k is for the token k + 2 places after the last slot.
   */
  propose({ features, embeddings, positions }: DraftContext, count: number): Int32Array {
    const { axes } = this.config;
    const slots = positions.length / axes;
    const rows = slots + count - 1;
    const start = this.#cache.length;
    this.#cache.reserve(start + rows);
    const all = new Float32Array(axes * rows);
    for (let axis = 0; axis < axes; axis++) {
      const last = positions[(axis + 1) * slots - 1]!;
      for (let i = 0; i < slots; i++) all[axis * rows + i] = positions[axis * slots + i]!;
      for (let i = slots; i < rows; i++) all[axis * rows + i] = last + i - slots + 1;
    }
    return scope(() => {
      const { cos, sin } = this.#rotary.tables(tensor(all, [axes, rows]));
      const [keys, values] = [this.#cache.keys[0]!, this.#cache.values[0]!];
      const proposals = this.#chain.propose(features, embeddings, cos, sin, keys, values, start, count);
      this.#cache.extend(slots);
      return proposals;
    });
  }

  dispose(): void {
    this.#chain.dispose();
    this.#rotary.dispose();
    this.#cache.dispose();
  }
}

function multipliesBFloat16({ device }: Tensor): boolean {
  return device === 'cuda' || native.info().bfloat16Gemm;
}

function copies(weights: Record<string, Tensor>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, cast(weight, 'float32')]));
}

function nativeChain(
  config: Eagle3Config,
  weights: Record<string, Tensor>,
  vocabulary: DraftVocabulary,
  embedTokens: Tensor,
  dtype: 'float32' | 'bfloat16',
): DraftChain {
  const w = (...names: string[]): Tensor => {
    const parts = names.map((name) => cast(weights[`${name}.weight`]!, 'float32'));
    const fused = parts.length === 1 ? parts[0]! : ops.cat(parts, 0);
    return fused.shape.length === 2 ? cast(fused, dtype) : fused;
  };
  const attention = 'midlayer.self_attn';
  return scope(() =>
    native.draftChain(
      {
        fc: w('fc'),
        inputNorm: w('midlayer.input_layernorm'),
        hiddenNorm: w('midlayer.hidden_norm'),
        qkv: w(`${attention}.q_proj`, `${attention}.k_proj`, `${attention}.v_proj`),
        output: w(`${attention}.o_proj`),
        postAttentionNorm: w('midlayer.post_attention_layernorm'),
        gateUp: w('midlayer.mlp.gate_proj', 'midlayer.mlp.up_proj'),
        down: w('midlayer.mlp.down_proj'),
        norm: w('norm'),
        lmHead: w('lm_head'),
        embedTokens,
        targetIds: tensor(Int32Array.from(vocabulary.targetIds), [vocabulary.size]),
      },
      { ...config, activation: 'silu' },
    ),
  );
}
