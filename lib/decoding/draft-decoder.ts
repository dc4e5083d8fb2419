import { Workspaces, type LayerConfig, type Workspace } from '../models/decoder/layer.js';
import { Rotary, type RopeTables } from '../models/rotary.js';
import type { Eagle3Config } from '../draft/eagle3.js';
import type { DraftVocabulary } from '../draft/vocabulary.js';
import { cast, dispose, keep, narrow, ops, scope, tensor, toInts, type Tensor } from '../tensor.js';
import { native } from '../native.js';
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
  readonly #workspaces: Workspaces;
  /** int32 [1] each; `token`, `slot` and `end` are set in every step. */
  /** [1, 2H]: what q, k and v of one token read, and its halves. */
  readonly #input: { whole: Tensor; embedding: Tensor; hidden: Tensor };
  readonly #scalars: { zero: Tensor; token: Tensor; slot: Tensor; end: Tensor };

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
    dtype: 'float32' | 'bfloat16' = native.info().bfloat16Gemm ? 'bfloat16' : 'float32',
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
    this.#workspaces = new Workspaces(this.#layer);
    const scalar = (): Tensor => keep(ops.zeros([1], 'int32'));
    const input = keep(ops.zeros([1, 2 * config.hiddenSize], 'float32'));
    const half = (at: number): Tensor => input.narrow(1, at, config.hiddenSize);
    this.#input = { whole: input, embedding: half(0), hidden: half(config.hiddenSize) };
    this.#scalars = { zero: scalar(), token: scalar(), slot: scalar(), end: scalar() };
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
    return this.#workspaces.use(1, (one) =>
      scope(() => {
        const proposals = new Int32Array(count);
        const hidden = this.#read(context, rows, one);
        const last = Float32Array.from({ length: axes * count }, (_, i) => {
          const axis = Math.floor(i / count);
          return context.positions[(axis + 1) * rows - 1]! + (i % count);
        });
        const tables = this.#rotary.tables(tensor(last, [axes, count]));
        for (let k = 0; k < count; k++) {
          if (k > 0) this.#step(proposals[k - 1]!, hidden, rowOf(tables, k), length + k, one);
          ops.rmsNorm(hidden, this.#weights.norm, this.config.rmsNormEps, one.normed);
          const best = toInts(ops.linearArgmax(one.normed, this.#weights.lmHead));
          proposals[k] = this.vocabulary.targetIds[best[0]!]!;
        }
        return proposals;
      }),
    );
  }

  dispose(): void {
    dispose({ ...this.#weights });
    dispose(this.#scalars);
    dispose(this.#input);
    this.#rotary.dispose();
    this.#cache.dispose();
    this.#workspaces.dispose();
  }

  /** Stores keys and values of the new slots; the layer's output at the last of them, [1, H]. */
  #read({ features, embeddings, positions }: DraftContext, rows: number, one: Workspace): Tensor {
    const { axes, rmsNormEps } = this.config;
    const start = this.#cache.length;
    const hidden = ops.matmul(features, this.#weights.fc, { transposeB: true });
    const lastRow = (t: Tensor) => narrow(t, 0, rows - 1, 1);
    this.#workspaces.use(rows, (buffers) => {
      const tables = this.#rotary.tables(tensor(positions, [axes, rows]));
      const { inputNorm, hiddenNorm, qkv } = this.#weights;
      const normed = [
        ops.rmsNorm(embeddings, inputNorm, rmsNormEps),
        ops.rmsNorm(hidden, hiddenNorm, rmsNormEps),
      ];
      ops.matmul(ops.cat(normed, 1), qkv, { transposeB: true, out: buffers.qkv });
      ops.rope(buffers.k, tables.cos, tables.sin, false, buffers.rotatedK);
      this.#cache.write(0, buffers.rotatedK, buffers.v);
      this.#cache.extend(rows);
      ops.rope(lastRow(buffers.q), lastRow(tables.cos), lastRow(tables.sin), false, one.rotatedQ);
    });
    const last = lastRow(hidden);
    this.#finish(last, start + rows, one);
    return last;
  }

  /** One proposed token: its row lies behind the slots. `hidden` [1, H] becomes the layer's output. */
  #step(token: number, hidden: Tensor, { cos, sin }: RopeTables, keys: number, one: Workspace): void {
    const { token: id, slot } = this.#scalars;
    id.fill(token);
    slot.fill(keys - 1);
    const { inputNorm, hiddenNorm, qkv } = this.#weights;
    const eps = this.config.rmsNormEps;
    ops.rmsNorm(ops.gatherRows(this.embedTokens, id), inputNorm, eps, this.#input.embedding);
    ops.rmsNorm(hidden, hiddenNorm, eps, this.#input.hidden);
    ops.matmul(this.#input.whole, qkv, { transposeB: true, out: one.qkv });
    ops.rope(one.q, cos, sin, false, one.rotatedQ);
    ops.rope(one.k, cos, sin, false, one.rotatedK);
    ops.scatterRows(this.#cache.keys[0]!, slot, one.rotatedK);
    ops.scatterRows(this.#cache.values[0]!, slot, one.v);
    this.#finish(hidden, keys, one);
  }

  /** Attention of one rotated query over the first `keys` rows, then the rest of the layer, added to `hidden` [1, H]. */
  #finish(hidden: Tensor, keys: number, one: Workspace): void {
    const { output, postNorm, gateUp, down } = this.#weights;
    const { zero, end } = this.#scalars;
    end.fill(keys);
    ops.attention(one.rotatedQ, this.#cache.keys[0]!, this.#cache.values[0]!, zero, end, {
      out: one.attended,
    });
    ops.matmul(one.merged, output, { transposeB: true, out: hidden, accumulate: true });
    ops.rmsNorm(hidden, postNorm, this.config.rmsNormEps, one.normed);
    const { mlp } = one;
    ops.matmul(one.normed, gateUp, { transposeB: true, out: mlp.gateUp });
    ops.gatedActivation(mlp.gate, mlp.up, this.#layer.activation, mlp.gated);
    ops.matmul(mlp.gated, down, { transposeB: true, out: hidden, accumulate: true });
  }
}

function rowOf({ cos, sin }: RopeTables, row: number): RopeTables {
  return { cos: narrow(cos, 0, row, 1), sin: narrow(sin, 0, row, 1) };
}
