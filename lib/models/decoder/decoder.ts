import { DecoderCache } from '../../decoding/kv-cache.js';
import { native, type DecoderLayers } from '../../native.js';
import { clone, dispose, keep, narrow, ops, scope, tensor, type Tensor } from '../../tensor.js';
import { attentionDtype } from '../attention-dtype.js';
import { Rotary, type RopeTables } from '../rotary.js';
import type { KVCache, PrefillOptions, PrefillResult, Target } from '../target.js';
import type { DecoderConfig } from './config.js';
import { TransformerLayer, Workspaces, type Attend, type LayerConfig } from './layer.js';
import type { Packed } from './pack.js';
import { Taps } from './taps.js';
import type { DecoderWeights } from './weights.js';

/** What the first layers add to the rows of pictures and clips (Meng et al. 2024, arXiv:2406.04334). */
export interface Deepstack {
  /** int32 [Mv] */
  slots: Tensor;
  /** float32 [Mv, H], one per layer: added to the output of layer k. */
  features: readonly Tensor[];
}

/** Rows that `DecoderLayers` takes; steps of fewer have as many on a GPU, where products of other sizes round otherwise. */
const mostStepRows = 16;

/** {@link Attend} in the layer of that index. */
type AttendInLayer = (layer: number, ...heads: Parameters<Attend>) => void;

/** Causal text decoder over packed rows and KV caches; knows nothing of media. */
export class Decoder {
  readonly #config: LayerConfig;
  readonly #layers: TransformerLayer[];
  readonly #rotary: Rotary;
  /** On the CPU, where calling operations one by one costs more than a small operation. */
  readonly #steps: DecoderLayers | undefined;
  readonly #attentionDtype: 'float32' | 'bfloat16';
  readonly #workspaces: Workspaces;

  /** Takes over the weights. */
  constructor(
    private readonly info: DecoderConfig,
    readonly weights: DecoderWeights,
  ) {
    keep([weights.embedTokens, weights.finalNorm, weights.lmHead]);
    this.#config = info;
    this.#layers = weights.layers.map((layer) => new TransformerLayer(this.#config, layer));
    if (weights.lmHead.device === 'cpu') this.#steps = native.decoderLayers(weights.layers, this.#config);
    this.#attentionDtype = attentionDtype(weights.lmHead);
    this.#rotary = new Rotary(info.rotary);
    this.#workspaces = new Workspaces(this.#config);
  }

  /** Embeddings of tokens, float32 [N, H]; an id outside the vocabulary is an error. */
  embed(ids: Int32Array): Tensor {
    return scope(() => ops.gatherRows(this.weights.embedTokens, tensor(ids, [ids.length])));
  }

  /**
   * Forward of packed rows; nothing crosses from one sample to another.
   *
   * @param x [N, H] embeddings with the media merged in; overwritten
   */
  prefill(x: Tensor, packed: Packed, options: PrefillOptions, deepstack?: Deepstack): PrefillResult {
    const { starts } = packed;
    const rows = packed.ids.length;
    const caches = options.caches && this.#emptyCaches(options.caches, starts);
    return scope(() => {
      const { hiddenSize, numLayers } = this.info;
      const taps = new Taps(rows, hiddenSize, numLayers, options.auxLayerIds, options.allLayers ?? false);
      const inputEmbeddings = options.inputEmbeddings ? clone(x) : undefined;
      const begin = tensor(packed.begin, [rows]);
      const end = tensor(packed.end, [rows]);
      const tables = this.#rotary.tables(tensor(packed.positions, [packed.axes, rows]));
      const attend: AttendInLayer = (layer, q, k, v, out) => {
        caches?.forEach((cache, s) => {
          const length = starts[s + 1]! - starts[s]!;
          cache.write(layer, narrow(k, 0, starts[s]!, length), narrow(v, 0, starts[s]!, length));
        });
        ops.attention(q, k, v, begin, end, { out, dtype: this.#attentionDtype });
      };
      const lastHiddenStates = this.#run(x, tables, attend, taps, deepstack, options.deepstack);
      caches?.forEach((cache, s) => {
        cache.extend(starts[s + 1]! - starts[s]!);
      });
      return {
        auxHiddenStates: taps.aux,
        lastHiddenStates,
        ...(inputEmbeddings && { inputEmbeddings }),
        ...(taps.all && { hiddenStates: taps.all }),
      };
    });
  }

  newCache(): DecoderCache {
    return new DecoderCache(this.info);
  }

  /** {@link Target.decode}. Up to 16 tokens, each row's result is the same, bit for bit, as decoding one by one. */
  decode(
    cache: KVCache,
    ids: Int32Array,
    positions: Float32Array,
    auxLayerIds: readonly number[],
  ): ReturnType<Target['decode']> {
    const store = this.#owned(cache);
    const rows = ids.length;
    if (rows === 0 || positions.length !== rows) {
      throw new Error(`[decode] expected as many positions as tokens, received ${positions.length} and ${rows}`);
    }
    const start = store.length;
    store.reserve(start + rows);
    return scope(() => {
      const { hiddenSize, numLayers } = this.info;
      if (this.#steps && rows <= mostStepRows) {
        const taps = new Taps(rows, hiddenSize, numLayers, auxLayerIds, false);
        const tables = this.#rotary.tables(tensor(positions, [1, rows]));
        const x = this.embed(ids);
        this.#steps.step(x, tables.cos, tables.sin, store.keys, store.values, start, taps.boundaries, taps.aux);
        store.extend(rows);
        return { auxHiddenStates: taps.aux, lastHiddenStates: this.#finalNorm(x) };
      }
      // Rows that fill up see no keys and leave none.
      const all = this.#steps ? rows : Math.max(rows, mostStepRows);
      const fill = <T extends Int32Array | Float32Array>(values: T, filled: T): T => (filled.set(values), filled);
      const taps = new Taps(all, hiddenSize, numLayers, auxLayerIds, false);
      const tables = this.#rotary.tables(tensor(fill(positions, new Float32Array(all)), [1, all]));
      const slot = tensor(
        Int32Array.from({ length: rows }, (_, i) => start + i),
        [rows],
      );
      const begin = ops.zeros([all], 'int32');
      const end = tensor(
        Int32Array.from({ length: all }, (_, i) => (i < rows ? start + i + 1 : 0)),
        [all],
      );
      const attend: AttendInLayer = (layer, q, k, v, out) => {
        const keys = store.keys[layer]!;
        const values = store.values[layer]!;
        ops.scatterRows(keys, slot, narrow(k, 0, 0, rows));
        ops.scatterRows(values, slot, narrow(v, 0, 0, rows));
        ops.attention(q, keys, values, begin, end, { out });
      };
      const lastHiddenStates = this.#run(this.embed(fill(ids, new Int32Array(all))), tables, attend, taps);
      store.extend(rows);
      return {
        auxHiddenStates: narrow(taps.aux, 0, 0, rows),
        lastHiddenStates: narrow(lastHiddenStates, 0, 0, rows),
      };
    });
  }

  /** float32 [n, V] of rows of the last hidden states. */
  logits(rows: Tensor): Tensor {
    const { lmHead } = this.weights;
    const [n, width] = rows.shape as [number, number];
    if (this.#steps || n >= mostStepRows) return ops.matmul(rows, lmHead, { transposeB: true });
    return scope(() => {
      const filled = ops.zeros([mostStepRows, width], 'float32');
      narrow(filled, 0, 0, n).copyFrom(rows);
      return narrow(ops.matmul(filled, lmHead, { transposeB: true }), 0, 0, n);
    });
  }

  dispose(): void {
    this.#steps?.dispose();
    this.#workspaces.dispose();
    this.#rotary.dispose();
    dispose(this.weights);
  }

  /** All layers and the final norm. */
  #run(
    x: Tensor,
    tables: RopeTables,
    attend: AttendInLayer,
    taps: Taps,
    deepstack?: Deepstack,
    capture: PrefillOptions['deepstack'] = 'before',
  ): Tensor {
    taps.capture(0, x);
    this.#workspaces.use(x.shape[0]!, (buffers) => {
      this.#layers.forEach((layer, i) => {
        layer.forward(x, tables, (...heads) => { attend(i, ...heads); }, buffers);
        const added = deepstack?.features[i];
        if (added && capture === 'after') ops.scatterAddRows(x, deepstack.slots, added);
        taps.capture(i + 1, x);
        if (added && capture === 'before') ops.scatterAddRows(x, deepstack.slots, added);
      });
    });
    return this.#finalNorm(x);
  }

  #finalNorm(x: Tensor): Tensor {
    return ops.rmsNorm(x, this.weights.finalNorm, this.info.rmsNormEps);
  }

  #owned(cache: KVCache): DecoderCache {
    const { numLayers, numKeyValueHeads, headDim } = this.info;
    if (
      cache instanceof DecoderCache &&
      cache.shape.numLayers === numLayers &&
      cache.shape.numKeyValueHeads === numKeyValueHeads &&
      cache.shape.headDim === headDim
    ) {
      return cache;
    }
    throw new Error('[target] expected a cache made by newCache() of this target, received another');
  }

  #emptyCaches(caches: readonly KVCache[], starts: Int32Array): DecoderCache[] {
    if (caches.length !== starts.length - 1) {
      throw new Error(`[prefill] expected ${starts.length - 1} caches, received ${caches.length}`);
    }
    return caches.map((cache, s) => {
      const owned = this.#owned(cache);
      if (owned.length > 0) {
        throw new Error(`[prefill] cache ${s}: expected an empty cache, received ${owned.length} tokens`);
      }
      owned.reserve(starts[s + 1]! - starts[s]!);
      return owned;
    });
  }
}
