import { Workspace, type LayerConfig } from '../models/decoder/layer.js';
import { Rotary, type RopeTables } from '../models/rotary.js';
import type { Eagle3Config } from '../draft/eagle3.js';
import type { DraftVocabulary } from '../draft/vocabulary.js';
import { cast, dispose, keep, narrow, ops, reshape, scope, tensor, toInts, type Tensor } from '../tensor.js';
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

/** Weights of an EAGLE-3 layer with q, k, v and gate, up fused, as decoding reads them. */
interface FusedWeights {
  fc: Tensor;
  inputNorm: Tensor;
  hiddenNorm: Tensor;
  qkv: Tensor;
  output: Tensor;
  postNorm: Tensor;
  gateUp: Tensor;
  down: Tensor;
  norm: Tensor;
  lmHead: Tensor;
}

/**
 * Chain drafting with a KV cache, as servers draft: the same formulas as `Eagle3Draft`, one sequence at a time. Row i of the
 * cache holds slot i; the rows of proposed tokens lie behind and are overwritten by the next round.
 */
export class DraftDecoder {
  readonly #weights: FusedWeights;
  readonly #rotary: Rotary;
  readonly #cache: DecoderCache;
  readonly #layer: LayerConfig;
  readonly #one: Workspace;
  readonly #zero: Tensor;

  /** @param weights named as `eagle3Shapes` says; they are copied */
  constructor(
    readonly config: Eagle3Config,
    weights: Record<string, Tensor>,
    readonly vocabulary: DraftVocabulary,
    readonly embedTokens: Tensor,
    dtype: 'float32' | 'bfloat16' = 'float32',
  ) {
    const w = (...names: string[]) =>
      keep(
        scope(() => {
          const parts = names.map((name) => cast(weights[`${name}.weight`]!, 'float32'));
          const fused = parts.length === 1 ? parts[0]! : ops.cat(parts, 0);
          return fused.shape.length === 2 ? cast(fused, dtype) : fused;
        }),
      );
    const attention = 'midlayer.self_attn';
    this.#weights = {
      fc: w('fc'),
      inputNorm: w('midlayer.input_layernorm'),
      hiddenNorm: w('midlayer.hidden_norm'),
      qkv: w(`${attention}.q_proj`, `${attention}.k_proj`, `${attention}.v_proj`),
      output: w(`${attention}.o_proj`),
      postNorm: w('midlayer.post_attention_layernorm'),
      gateUp: w('midlayer.mlp.gate_proj', 'midlayer.mlp.up_proj'),
      down: w('midlayer.mlp.down_proj'),
      norm: w('norm'),
      lmHead: w('lm_head'),
    };
    this.#rotary = new Rotary(config.rotary);
    this.#cache = new DecoderCache({ ...config, numLayers: 1 });
    this.#layer = { ...config, activation: 'silu' };
    this.#one = new Workspace(1, this.#layer);
    this.#zero = keep(ops.zeros([1], 'int32'));
  }

  /** Forgets the sequence. */
  reset(): void {
    this.#cache.truncate(0);
  }

  /**
   * Reads the slots whose target features are new, then proposes `count` tokens after the last of them, greedily.
   * Returns target ids: proposal k is for the token k + 2 places after the last slot.
   */
  propose(context: DraftContext, count: number): Int32Array {
    const { axes } = this.config;
    const rows = context.positions.length / axes;
    const length = this.#cache.length + rows;
    this.#cache.reserve(length + count);
    return scope(() => {
      const proposals = new Int32Array(count);
      let hidden = this.#read(context, rows);
      const last = Float32Array.from({ length: axes * count }, (_, i) => {
        const axis = Math.floor(i / count);
        return context.positions[(axis + 1) * rows - 1]! + (i % count);
      });
      const tables = this.#rotary.tables(tensor(last, [axes, count]));
      for (let k = 0; k < count; k++) {
        if (k > 0) hidden = this.#step(proposals[k - 1]!, hidden, rowOf(tables, k), length + k);
        const normed = ops.rmsNorm(hidden, this.#weights.norm, this.config.rmsNormEps);
        const logits = ops.matmul(normed, this.#weights.lmHead, { transposeB: true });
        proposals[k] = this.vocabulary.targetIds[toInts(ops.argmax(logits))[0]!]!;
      }
      return proposals;
    });
  }

  dispose(): void {
    dispose({ ...this.#weights });
    dispose(this.#zero);
    this.#rotary.dispose();
    this.#cache.dispose();
    this.#one.dispose();
  }

  /** Stores keys and values of the new slots; the layer's output at the last of them, [1, H]. */
  #read({ features, embeddings, positions }: DraftContext, rows: number): Tensor {
    const start = this.#cache.length;
    const hidden = ops.matmul(features, this.#weights.fc, { transposeB: true });
    const buffers = rows === 1 ? this.#one : new Workspace(rows, this.#layer);
    try {
      const tables = this.#rotary.tables(tensor(positions, [this.config.axes, rows]));
      this.#project(embeddings, hidden, buffers);
      this.#store(start, ops.rope(buffers.k, tables.cos, tables.sin), buffers.v);
      this.#cache.extend(rows);
      const lastRow = (t: Tensor) => narrow(t, 0, rows - 1, 1);
      const q = ops.rope(lastRow(buffers.q), lastRow(tables.cos), lastRow(tables.sin));
      return this.#finish(q, lastRow(hidden), start + rows);
    } finally {
      if (buffers !== this.#one) buffers.dispose();
    }
  }

  /** One proposed token: its row lies behind the slots. */
  #step(token: number, hidden: Tensor, tables: RopeTables, keys: number): Tensor {
    const buffers = this.#one;
    const embedding = ops.gatherRows(this.embedTokens, tensor(Int32Array.of(token), [1]));
    this.#project(embedding, hidden, buffers);
    this.#store(keys - 1, ops.rope(buffers.k, tables.cos, tables.sin), buffers.v);
    return this.#finish(ops.rope(buffers.q, tables.cos, tables.sin), hidden, keys);
  }

  #project(embeddings: Tensor, hidden: Tensor, buffers: Workspace): void {
    const { inputNorm, hiddenNorm, qkv } = this.#weights;
    const eps = this.config.rmsNormEps;
    const input = ops.cat([ops.rmsNorm(embeddings, inputNorm, eps), ops.rmsNorm(hidden, hiddenNorm, eps)], 1);
    ops.matmul(input, qkv, { transposeB: true, out: buffers.qkv });
  }

  #store(row: number, k: Tensor, v: Tensor): void {
    this.#cache.write(0, k, v, row);
  }

  /** Attention of one query over the first `keys` rows, then the rest of the layer; [1, H], before the final norm. */
  #finish(q: Tensor, hidden: Tensor, keys: number): Tensor {
    const { output, postNorm, gateUp, down } = this.#weights;
    const { numHeads, headDim, rmsNormEps } = this.config;
    const end = tensor(Int32Array.of(keys), [1]);
    const { out } = ops.attention(q, this.#cache.keys[0]!, this.#cache.values[0]!, this.#zero, end);
    const attended = ops.matmul(reshape(out, [1, numHeads * headDim]), output, { transposeB: true });
    const residual = ops.add(hidden, attended);
    const normed = ops.rmsNorm(residual, postNorm, rmsNormEps);
    ops.matmul(normed, gateUp, { transposeB: true, out: this.#one.gateUp });
    const gated = ops.gatedActivation(this.#one.gate, this.#one.up, this.#layer.activation);
    ops.matmul(gated, down, { transposeB: true, out: residual, accumulate: true });
    return residual;
  }
}

function rowOf({ cos, sin }: RopeTables, row: number): RopeTables {
  return { cos: narrow(cos, 0, row, 1), sin: narrow(sin, 0, row, 1) };
}
