import { fileURLToPath } from 'node:url';
import nodeGypBuild from 'node-gyp-build';
import type { LayerConfig, LayerWeights } from './models/decoder/layer.js';
import './wait-policy.js';

/** Element types of a tensor. `float16` exists in files only: it is widened to float32 when it is read. */
export type DType = 'float32' | 'bfloat16' | 'int64' | 'int32' | 'bool';

/** Arrays a tensor can be made from and copied to. bfloat16 travels as its 16 bits, bool as 0 or 1. */
export type TensorData = Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;

/**
 * A tensor in native memory. Rows are contiguous unless it is a view made by `narrow` or `transpose`.
 * Memory is given back by `dispose()`; the garbage collector is only the safety net.
 */
export interface NativeTensor {
  readonly shape: number[];
  readonly dtype: DType;
  readonly device: 'cpu' | 'cuda';
  readonly size: number;
  readonly disposed: boolean;
  /** View of `length` entries of dimension `dim` from `start`. */
  narrow(dim: number, start: number, length: number): NativeTensor;
  /** View with another shape; the tensor must be contiguous. One entry may be -1. */
  reshape(shape: number[]): NativeTensor;
  /** View with two dimensions exchanged. */
  transpose(dim0: number, dim1: number): NativeTensor;
  /** Another handle on the same memory. */
  alias(): NativeTensor;
  /** Copy with another element type (a copy even if it is the same). Rounds to nearest even. */
  cast(dtype: DType): NativeTensor;
  /** Contiguous copy. */
  clone(): NativeTensor;
  /** Overwrites this tensor (or view) with `source`, converting the element type. */
  copyFrom(source: NativeTensor): void;
  fill(value: number): void;
  /** Copy of the elements in row-major order. */
  toTypedArray(): TensorData;
  dispose(): void;
}

export type Activation = 'silu' | 'gelu' | 'gelu_tanh' | 'quick_gelu';

export interface MatmulOptions {
  /** Use aᵀ, bᵀ. */
  transposeA?: boolean;
  transposeB?: boolean;
  /** [N], float32, added to every row. */
  bias?: NativeTensor;
  /** out += a·b instead of out = a·b; with `out` only. */
  accumulate?: boolean;
  /** `matmulPanels` of b. */
  panels?: NativeTensor | undefined;
}

export interface RopeOptions {
  /** Number of frequencies that each axis takes; absent for one axis. */
  sections?: number[];
  /**
   * Interleaved mrope (Qwen3-VL): axis 1 takes frequencies 1, 4, 7 …, axis 2 takes 2, 5, 8 …, each as many as its
   * section says and there are; axis 0 takes the rest.
   */
  interleaved?: boolean;
  /** Added to every position. */
  offset?: number;
  /** Multiplies cos and sin (yarn's attention factor). */
  scaling?: number;
}

/** Experts of N rows, k each. */
export interface Routing {
  /** int32 [N,k] */
  experts: NativeTensor;
  /** float32 [N,k] */
  weights: NativeTensor;
}

export interface ExpertMlpOptions {
  /** Of the gate. */
  activation: Activation;
  /** out += … instead of out = …; with `out` only. */
  accumulate?: boolean;
}

/** Keys that each query row sees beside its range: row `rows[i]` of `k` and `v`, for query i. */
export interface ExtraKeys {
  /** [M, kvHeads, D] */
  k: NativeTensor;
  v: NativeTensor;
  /** int32 [N] */
  rows: NativeTensor;
}

export interface AttentionOptions {
  /** Multiplies the scores; 1/sqrt(D) if absent. */
  scale?: number;
  extras?: ExtraKeys[];
  /**
   * bfloat16: products of more than 16 queries round both factors, where the processor multiplies that; sums and softmax
   * stay float32. float32 if absent.
   */
  dtype?: 'float32' | 'bfloat16';
  /** Naive reference instead of the fused kernel. */
  plain?: boolean;
}

export interface AttentionGradients {
  dq: NativeTensor;
  dk: NativeTensor;
  dv: NativeTensor;
  /** One pair per extra, in order; accumulated where several queries name the same row. */
  extras: { dk: NativeTensor; dv: NativeTensor }[];
}

export interface SoftCrossEntropyResult {
  /** Σ of `losses`, in float64. */
  loss: number;
  /** float32 [n]: −Σ_v p(v) log q(v) of every row, not scaled. */
  losses: NativeTensor;
  /** int32 [n]: draft-vocabulary argmax of every row. */
  argmax: NativeTensor;
  /** [n, H]: gradient of Σ scale·losses with respect to x. */
  dx: NativeTensor;
}

export interface AdamWOptions {
  lr: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** 1 for the first step. */
  step: number;
  /** Gradients are multiplied by this first (clipping). */
  gradScale: number;
}

export type ResizeFilter = 'bicubic' | 'bilinear' | 'lanczos';

export interface PatchOptions {
  patchSize: number;
  temporalPatchSize: number;
  mergeSize: number;
  rescale: number;
  mean: number[];
  std: number[];
}

/** A picture as it comes. */
export interface PictureData {
  /** A JPEG that `jpegSize` knows, or pixels [height, width, 3]. Must not change before the promise is settled. */
  data: Uint8Array;
  height: number;
  width: number;
  jpeg: boolean;
}

/** What a model looks at: the picture in another size, whole, in a square, or cut. */
export interface PictureView {
  /** Pixels that it is resized to. */
  height: number;
  width: number;
  filter: ResizeFilter;
  /** Made from the view before, not from the picture. */
  ofPrevious?: boolean;
  /** Side of a square in whose middle the resized picture lies; what it does not fill has the colour `background`. */
  square?: number;
  background?: readonly [number, number, number];
  /** Side of the squares that the view is cut into, row by row; each has patches of its own. */
  tile?: number;
}

export interface MemoryStats {
  liveBytes: number;
  peakBytes: number;
  liveTensors: number;
}

export interface NativeInfo {
  version: string;
  onednn: string;
  /** Instruction set the kernels use: avx512_bf16, avx512, avx2 or generic. */
  isa: string;
  threads: number;
  bfloat16Gemm: boolean;
}

export interface CudaDevice {
  name: string;
  /** Such as 9.0. */
  computeCapability: string;
  /** Memory in bytes. */
  bytes: number;
}

/** Where an operation writes instead of into a new tensor; it returns nothing then. */
export interface Out {
  /** float32, of the result's shape. */
  out: NativeTensor;
}

/** Layers of a decoder, held by the addon until `dispose`. */
export interface DecoderLayers {
  /**
   * Adds the layers to the residual stream x [n,H] in place, n from 1 to 16: bit for bit what single operations give.
   * cos and sin [n,F] are the rows' rotary tables. `keys` and `values`, one [capacity,kvHeads,D] a layer, receive the
   * rows from row `start` on; row i sees the cache up to itself.
   * @param boundaries ascending: the residual stream before layer k goes to aux [n, boundaries·H], for the k of each
   */
  step(
    x: NativeTensor,
    cos: NativeTensor,
    sin: NativeTensor,
    keys: readonly NativeTensor[],
    values: readonly NativeTensor[],
    start: number,
    boundaries: readonly number[],
    aux?: NativeTensor,
  ): void;
  dispose(): void;
}

/** Weights of an EAGLE-3 draft: matrices as [out, in], q, k, v and gate, up one after another. */
export interface DraftChainWeights {
  /** [H, features] */
  fc: NativeTensor;
  /** [H] each: of embeddings, of hidden states. */
  inputNorm: NativeTensor;
  hiddenNorm: NativeTensor;
  /** [(heads + 2·kvHeads)·D, 2H] */
  qkv: NativeTensor;
  output: NativeTensor;
  postAttentionNorm: NativeTensor;
  gateUp: NativeTensor;
  down: NativeTensor;
  norm: NativeTensor;
  /** [draft vocabulary, H] */
  lmHead: NativeTensor;
  /** [V, H], of the target. */
  embedTokens: NativeTensor;
  /** int32 [draft vocabulary] */
  targetIds: NativeTensor;
}

/** A draft that proposes, held by the addon until `dispose`. */
export interface DraftChain {
  /**
   * The `count` target ids that follow the last of n slots, greedily. features [n,·] of the slots, embeddings [n,H] of the
   * tokens after them; cos and sin [n + count − 1, F]: of the slots, then of all proposals but the last, whose rows lie
   * behind the slots' in keys and values [capacity,kvHeads,D], from row `start` on.
   */
  propose(
    features: NativeTensor,
    embeddings: NativeTensor,
    cos: NativeTensor,
    sin: NativeTensor,
    keys: NativeTensor,
    values: NativeTensor,
    start: number,
    count: number,
  ): Int32Array;
  dispose(): void;
}

/**
 * Everything the addon exports. Shapes: N rows, H features, V vocabulary, D head size. Operations that take `out`
 * return nothing when it is given: a handle costs more than a small operation.
 */
export interface Native {
  // ---- tensors
  /** Class of all handles, for instanceof; only the functions below make them. */
  readonly NativeTensor: abstract new () => NativeTensor;
  fromData(data: TensorData, dtype: DType, shape: number[]): NativeTensor;
  /** Zero-filled. */
  zeros(shape: number[], dtype: DType): NativeTensor;
  /** Standard-normal · std, counter-based (Philox): the same seed gives the same values on every machine. */
  randomNormal(shape: number[], std: number, seed: bigint): NativeTensor;
  /** Of the thread's device. */
  memory(): MemoryStats;
  resetPeakMemory(): void;
  /**
   * Where `fromData`, `zeros`, `randomNormal` and `readTensor` of this thread make tensors from now on; at first the CPU.
   * All tensors of an operation lie on one device. On a GPU operations return before they are done; whoever reads numbers
   * waits.
   * @throws Error where there is no such GPU, or the process uses another
   */
  setDevice(device: 'cpu' | 'cuda' | `cuda:${number}`): void;
  /** GPUs that can be used; without any, `reason` says why. */
  cudaDevices(): { devices: CudaDevice[]; reason?: string };
  setThreads(count: number): void;
  info(): NativeInfo;
  /** Reads a tensor at a byte offset of a file by pread. fileDtype float16 becomes float32. */
  readTensor(
    path: string,
    byteOffset: number,
    shape: number[],
    fileDtype: DType | 'float16',
    dtype: DType,
  ): NativeTensor;
  /** Writes the tensor's elements at a byte offset of an open file; returns the number of bytes. */
  writeTensor(fd: number, byteOffset: number, tensor: NativeTensor): number;

  // ---- products
  /**
   * a [M,K] · b [K,N] → float32 [M,N]. If either is bfloat16 both are multiplied as bfloat16 with float32
   * accumulation. Up to 16 rows each row's result does not depend on how many rows there are.
   */
  matmul(a: NativeTensor, b: NativeTensor, options?: MatmulOptions): NativeTensor;
  matmul(a: NativeTensor, b: NativeTensor, options: MatmulOptions & Out): void;
  /**
   * b in the order in which products of more than 16 rows read it, for the `panels` of several of them; b has the type
   * that is multiplied. Of as many elements as b and a few more. undefined where the processor's kernels read b itself.
   */
  matmulPanels(b: NativeTensor, transposeB?: boolean): NativeTensor | undefined;
  /** Σ aᵢᵀ·bᵢ, aᵢ [Kᵢ,M], bᵢ [Kᵢ,N], all of one type → float32 [M,N]: one product, nothing is put together before. */
  matmulTransposed(a: readonly NativeTensor[], b: readonly NativeTensor[]): NativeTensor;
  matmulTransposed(
    a: readonly NativeTensor[],
    b: readonly NativeTensor[],
    options: Pick<MatmulOptions, 'accumulate'> & Out,
  ): void;

  // ---- mixture of experts: E experts, k per row, I intermediate
  /**
   * The k most probable experts of every row of logits float32 [N,E], by a float32 softmax: most probable first, the lower
   * index first of equals. `normalize` divides a row's weights by their sum.
   */
  routeTopK(logits: NativeTensor, k: number, normalize: boolean): Routing;
  /**
   * Σ over a row's experts of weight · down[e] · (act(gate)·up), gate and up being the halves of gateUp[e] · x: x [N,H],
   * gateUp [E,2I,H], down [E,H,I] → float32 [N,H]. Costs what the chosen experts cost; products as matmul's. A row's
   * experts are added in ascending order. Up to 16 rows each row's result does not depend on how many rows there are.
   */
  expertMlp(
    x: NativeTensor,
    routing: Routing,
    gateUp: NativeTensor,
    down: NativeTensor,
    options: ExpertMlpOptions,
  ): NativeTensor;
  expertMlp(
    x: NativeTensor,
    routing: Routing,
    gateUp: NativeTensor,
    down: NativeTensor,
    options: ExpertMlpOptions & Out,
  ): void;

  // ---- rows
  /** Rows of table [R,…] named by ids (int32 or int64) [N] → [N,…]; bfloat16 tables give float32. */
  gatherRows(table: NativeTensor, ids: NativeTensor): NativeTensor;
  /** dst[ids[i]] = src[i] */
  scatterRows(dst: NativeTensor, ids: NativeTensor, src: NativeTensor): void;
  /** dst[ids[i]] += src[i] */
  scatterAddRows(dst: NativeTensor, ids: NativeTensor, src: NativeTensor): void;
  cat(tensors: NativeTensor[], dim: number): NativeTensor;

  // ---- elementwise (float32)
  add(a: NativeTensor, b: NativeTensor): NativeTensor;
  /** a += alpha·b */
  addInPlace(a: NativeTensor, b: NativeTensor, alpha?: number): void;
  scaleInPlace(a: NativeTensor, factor: number): void;
  /** a·b; b has a's shape, or is a vector [H] that every row of a […,H] is multiplied by. */
  mul(a: NativeTensor, b: NativeTensor): NativeTensor;
  activation(x: NativeTensor, kind: Activation): NativeTensor;
  /** act(gate)·up */
  gatedActivation(gate: NativeTensor, up: NativeTensor, kind: Activation): NativeTensor;
  gatedActivation(gate: NativeTensor, up: NativeTensor, kind: Activation, out: NativeTensor): void;
  gatedActivationBackward(
    dy: NativeTensor,
    gate: NativeTensor,
    up: NativeTensor,
    kind: Activation,
  ): { dgate: NativeTensor; dup: NativeTensor };
  /** dgate and dup side by side: out [N,2I] for gate and up [N,I]. */
  gatedActivationBackward(
    dy: NativeTensor,
    gate: NativeTensor,
    up: NativeTensor,
    kind: Activation,
    out: NativeTensor,
  ): void;

  // ---- norms over the last dimension (float32 rows; weights float32 or bfloat16)
  /** Without a weight: x / √(mean(x²) + eps). */
  rmsNorm(x: NativeTensor, weight: NativeTensor | undefined, eps: number): NativeTensor;
  rmsNorm(x: NativeTensor, weight: NativeTensor | undefined, eps: number, out: NativeTensor): void;
  /** dweight is added to. */
  rmsNormBackward(
    dy: NativeTensor,
    x: NativeTensor,
    weight: NativeTensor,
    eps: number,
    dweight: NativeTensor | undefined,
  ): NativeTensor;
  /**
   * Gradients of y = (x̂ ∘ norm)·weightᵀ where x̂ needs none, from g = Σ dyᵀ·x̂ [N,H]: dweight [N,H] += g·diag(norm),
   * dnorm [H] += Σ_N weight ∘ g.
   */
  foldedNormBackward(
    g: NativeTensor,
    weight: NativeTensor,
    norm: NativeTensor,
    dweight: NativeTensor,
    dnorm: NativeTensor,
  ): void;
  layerNorm(x: NativeTensor, weight: NativeTensor, bias: NativeTensor | undefined, eps: number): NativeTensor;
  layerNormBackward(
    dy: NativeTensor,
    x: NativeTensor,
    weight: NativeTensor,
    eps: number,
    dweight: NativeTensor | undefined,
    dbias: NativeTensor | undefined,
  ): NativeTensor;
  softmax(x: NativeTensor): NativeTensor;
  softmaxBackward(dy: NativeTensor, y: NativeTensor): NativeTensor;

  // ---- rotary
  /** positions float32 [axes,N], inverse frequencies float32 [F] → cos and sin, float32 [N,F]. */
  ropeTables(
    positions: NativeTensor,
    inverseFrequencies: NativeTensor,
    options?: RopeOptions,
  ): { cos: NativeTensor; sin: NativeTensor };
  /**
   * Rotates x [N, heads, D]: pairs (j, j+F) of the first 2F features by cos, sin [N,F]; the rest pass.
   * inverse rotates back, which is also the gradient.
   */
  rope(x: NativeTensor, cos: NativeTensor, sin: NativeTensor, inverse?: boolean): NativeTensor;
  rope(x: NativeTensor, cos: NativeTensor, sin: NativeTensor, inverse: boolean, out: NativeTensor): void;

  // ---- attention
  /**
   * q [N,heads,D]; k, v [M,kvHeads,D]; query i sees keys begin[i] ≤ j < end[i] (int32 [N]) and its extras, in one
   * softmax. Returns out [N,heads,D] and lse [N,heads]. Up to 16 queries each row's result does not depend on
   * how many there are. Causal prefill, windows, packed sequences, KV-cache decoding and the draft's
   * training-time test are all ranges.
   */
  attention(
    q: NativeTensor,
    k: NativeTensor,
    v: NativeTensor,
    begin: NativeTensor,
    end: NativeTensor,
    options?: AttentionOptions,
  ): { out: NativeTensor; lse: NativeTensor };
  attention(
    q: NativeTensor,
    k: NativeTensor,
    v: NativeTensor,
    begin: NativeTensor,
    end: NativeTensor,
    options: AttentionOptions & Out,
  ): void;
  attentionBackward(
    dout: NativeTensor,
    q: NativeTensor,
    k: NativeTensor,
    v: NativeTensor,
    out: NativeTensor,
    lse: NativeTensor,
    begin: NativeTensor,
    end: NativeTensor,
    options?: AttentionOptions,
  ): AttentionGradients;

  // ---- decoding: many small operations in one call, which costs more than each of them
  decoderLayers(layers: readonly LayerWeights[], config: LayerConfig): DecoderLayers;
  draftChain(weights: DraftChainWeights, config: LayerConfig): DraftChain;

  // ---- vocabulary
  /** argmax over the last dimension, lowest index on ties → int32 [N]. */
  argmax(x: NativeTensor): NativeTensor;
  /** argmax over V of x [N,H] · weight[V,H]ᵀ, streamed over chunks of V → int32 [N]. */
  linearArgmax(x: NativeTensor, weight: NativeTensor): NativeTensor;
  /**
   * Of x [N,H] · weight[V,H]ᵀ, streamed over chunks of V, the argmax over V, int32 [N], and the softmax over the columns
   * named by int32 [C], ascending: float32 [N,C].
   */
  linearTeacher(
    x: NativeTensor,
    weight: NativeTensor,
    columns: NativeTensor,
  ): { argmax: NativeTensor; probabilities: NativeTensor };
  /**
   * Fused linear + soft cross-entropy, forward and backward in one pass over row chunks.
   * x [n,H], weight [V,H], teacher float32 [R,V], teacherRows int32 [n]; scale: one number, or float32 [n]; dweight
   * float32 [V,H] is added to, or overwritten where `accumulate` is false.
   */
  linearSoftCrossEntropy(
    x: NativeTensor,
    weight: NativeTensor,
    teacher: NativeTensor,
    teacherRows: NativeTensor,
    scale: number | NativeTensor,
    dweight: NativeTensor | undefined,
    accumulate?: boolean,
  ): SoftCrossEntropyResult;
  /** Without a scale: losses alone, and no gradient is computed. */
  linearSoftCrossEntropy(
    x: NativeTensor,
    weight: NativeTensor,
    teacher: NativeTensor,
    teacherRows: NativeTensor,
  ): Omit<SoftCrossEntropyResult, 'dx'>;

  // ---- optimizer
  /** √(Σ g²) over all tensors, accumulated in float64 in a fixed order. */
  gradNorm(grads: NativeTensor[]): number;
  /** Updates params, m and v (float32, master precision) in place; `compute[i]`, if given, receives the rounded copy. */
  adamW(
    params: NativeTensor[],
    grads: NativeTensor[],
    m: NativeTensor[],
    v: NativeTensor[],
    compute: (NativeTensor | undefined)[],
    options: AdamWOptions,
  ): void;

  // ---- media
  /** Pillow-exact resize of interleaved uint8 [h,w,c]. */
  resize(
    data: Uint8Array,
    height: number,
    width: number,
    channels: number,
    outHeight: number,
    outWidth: number,
    filter: ResizeFilter,
  ): Uint8Array;
  /**
   * Qwen-VL patches: frames uint8 [T,h,w,3] → float32 [T/tp · h/p · w/p, 3·tp·p·p], rescaled, normalised and ordered in
   * merge blocks.
   */
  patchify(
    frames: Uint8Array,
    count: number,
    height: number,
    width: number,
    options: PatchOptions,
  ): Float32Array;
  /**
   * Size, turned as its EXIF orientation says, of a JPEG that the addon decodes byte for byte as Pillow does; undefined for
   * every other picture.
   */
  jpegSize(data: Uint8Array): { height: number; width: number } | undefined;
  /** Pixels [h,w,3] of a view, made on another thread; undefined where anything about the JPEG is irregular. */
  renderPicture(picture: PictureData, view: PictureView): Promise<Uint8Array | undefined>;
  /** {@link patchify} of views, end to end, made on another thread; undefined where the JPEG is irregular. */
  patchPicture(
    picture: PictureData,
    options: { views: readonly (PictureView & PatchOptions)[] },
  ): Promise<Float32Array | undefined>;

  /**
   * Whisper's log-mel features of sound at 16 kHz (window 400, hop 160, Slaney bands from 0 to 8 kHz) →
   * float32 [mels, frames], frames = min(⌈samples / 160⌉, ⌊paddedLength / 160⌋): the frames that the attention mask of
   * transformers' WhisperFeatureExtractor keeps. Zeros are appended to the samples up to `paddedLength` before the
   * transform. Follows the extractor's torch path; its float32 transform is off by up to 2e-4 where a tone leaves the
   * other bands near the floor, this one is in float64.
   *
   * Qwen2.5-Omni cuts and pads to `max_length`: `samples.subarray(0, nSamples)`, `paddedLength: nSamples`. Qwen3-Omni
   * pads to the longest sound of the call and cuts nothing: one sound has no padding and loses its last, begun hop; vLLM
   * pads each to whole hops first, which keeps it.
   *
   * @throws TypeError where there is no sample, or one is not finite, or paddedLength is below the number of samples or
   *   below 201
   */
  logMel(
    samples: Float32Array,
    options: {
      /** 80 or 128 (`feature_size`); at most 128. */
      mels: number;
      /** Number of samples if absent. */
      paddedLength?: number;
    },
  ): Float32Array;

  // ---- multimodal rope index: see csrc/rope
  /**
   * Positions [3,T] of time, height and width. Every run of placeholders of one kind is a grid, in order. Qwen2-VL has one
   * second a grid and one token a second; Qwen3-VL has a grid of one frame for each frame of a clip.
   */
  ropeIndexQwenVL(
    ids: Int32Array,
    options: {
      imageTokenId: number;
      videoTokenId: number;
      mergeSize: number;
      tokensPerSecond: number;
      /** [t,h,w] triples, in patches */
      imageGrids: Int32Array;
      videoGrids: Int32Array;
      secondPerGrid: Float64Array;
      positionRule: 'engines' | 'transformers5';
    },
  ): { positions: Float32Array; delta: number };
  /** Positions keep fractions of seconds under `qwen3_omni`; delta may have one too. */
  ropeIndexOmni(
    ids: Int32Array,
    options: {
      imageTokenId: number;
      videoTokenId: number;
      audioTokenId: number;
      visionStartTokenId: number;
      audioStartTokenId: number;
      mergeSize: number;
      positionsPerSecond: number;
      /** [t,h,w] triples, in patches */
      imageGrids: Int32Array;
      videoGrids: Int32Array;
      secondPerGrid: Float64Array;
      rule: 'qwen2_5_omni' | 'qwen3_omni';
    },
  ): { positions: Float32Array; delta: number };
}

// lib/ and dist/ are both one level below the package root.
export const packageRoot = fileURLToPath(new URL('..', import.meta.url));

export const native = nodeGypBuild(packageRoot) as Native;
