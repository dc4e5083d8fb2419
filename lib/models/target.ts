import type { Tensor } from '../tensor.js';

/** What a record is reported under. */
export type Modality = 'text' | 'image' | 'video' | 'audio';

/** One picture, clip or sound of a record, as its family's processor made it; only that family's target looks inside. */
export interface MediaFeature {
  kind: Exclude<Modality, 'text'>;
  /** Number of placeholder tokens it fills. */
  tokens: number;
  /** The rest is the family's own (pixel rows and grid, mel frames and mask …). */
  [field: string]: unknown;
}

/** A record after its processor: everything that target, draft and loss need. T tokens. */
export interface Sample {
  id: string;
  /** [T], media placeholders included. */
  inputIds: Int32Array;
  /** [T], 1 where the assistant produced the token, its end of turn included. */
  lossMask: Uint8Array;
  /** [axes, T] row-major, from the unshifted ids. */
  positionIds: Float32Array;
  axes: 1 | 3;
  /** The token after the last has position T + positionDelta on every axis. */
  positionDelta: number;
  media: MediaFeature[];
  modality: Modality;
}

/** Rotary embedding of a target's decoder, and so of its draft. */
export interface RotaryConfig {
  theta: number;
  headDim: number;
  /** Share of the head that is rotated. */
  partialRotaryFactor: number;
  /** Frequencies per axis of a multimodal rope. */
  mropeSection?: number[];
  mropeInterleaved?: boolean;
  /** The `rope_scaling` / `rope_parameters` object as the target's config.json has it. */
  scaling?: Record<string, unknown>;
}

/** What the modality-blind parts may know of a target. */
export interface TargetInfo {
  /** Architecture class of config.json. */
  architecture: string;
  modelType: string;
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  intermediateSize: number;
  vocabSize: number;
  rmsNormEps: number;
  maxPositionEmbeddings: number;
  rotary: RotaryConfig;
  /** Ids that end a turn or a text. */
  eosTokenIds: number[];
  bosTokenId?: number;
  padTokenId?: number;
}

/** Keys and values of one sequence; grown by `prefill` and `decode`. */
export interface KVCache {
  /** Number of tokens stored. */
  readonly length: number;
  /** Forgets the tokens from `length` on (rejected drafts). */
  truncate(length: number): void;
  dispose(): void;
}

export interface PrefillOptions {
  /** Boundary ids: k is the input of decoder layer k, the output of layer k−1. */
  auxLayerIds: readonly number[];
  /** Where the aux states of layers that add visual features are taken (families with deepstack). */
  deepstack?: 'before' | 'after';
  /** Also return the residual stream at every boundary 0..numLayers. */
  allLayers?: boolean;
  /** Also return the merged input embeddings. */
  inputEmbeddings?: boolean;
  /** One per sample: filled with the keys and values. */
  caches?: KVCache[];
}

/** Rows of all samples end to end, in order: N = Σ T. */
export interface PrefillResult {
  /** [N, aux·H] */
  auxHiddenStates: Tensor;
  /** [N, H], after the final norm: the input of lm_head. */
  lastHiddenStates: Tensor;
  /** [N, H] */
  inputEmbeddings?: Tensor;
  /** [numLayers + 1, N, H], before the final norm. */
  hiddenStates?: Tensor;
}

export interface LoadTargetOptions {
  /** Element type of the weight matrices; float32 if absent. Activations are float32. */
  dtype?: 'float32' | 'bfloat16';
}

/** A frozen target. Everything that differs between families is behind this. */
export interface Target {
  readonly info: TargetInfo;
  /** [V, H] */
  readonly embedTokens: Tensor;
  /** [V, H]; the same tensor as embedTokens where they are tied. */
  readonly lmHead: Tensor;
  /** [H] weight of the final norm. */
  readonly finalNorm: Tensor;
  /** Forward of whole records, packed; nothing crosses from one to another. */
  prefill(samples: readonly Sample[], options: PrefillOptions): PrefillResult;
  newCache(): KVCache;
  /** Forward of text tokens after those in the cache; position of each on every axis. */
  decode(
    cache: KVCache,
    ids: Int32Array,
    positions: Float32Array,
    auxLayerIds: readonly number[],
  ): { auxHiddenStates: Tensor; lastHiddenStates: Tensor };
  /** float32 [n, V] of rows of the last hidden states. */
  logits(rows: Tensor): Tensor;
  dispose(): void;
}

/** A chat message in OpenAI form, as `data/records` reads it. Media are still references. */
export interface Message {
  role: string;
  content: string | ContentPart[];
  [field: string]: unknown;
}

export type ContentPart =
  | { type: 'text'; text: string }
  | { type: 'image'; source: MediaSource }
  | { type: 'video'; source: MediaSource; fps?: number; [field: string]: unknown }
  | { type: 'audio'; source: MediaSource };

/** A file that is allowed to be read, bytes from a data: URI, or bytes that lie in a data file and are read from it. */
export type MediaSource =
  | { path: string }
  | { bytes: Uint8Array; mime: string }
  | { name: string; mime: string; read: () => Promise<Uint8Array> };

/** A parsed line of a data file. */
export interface ConversationRecord {
  id: string;
  /** `file:line`, for messages. */
  where: string;
  messages: Message[];
  tools?: unknown[];
}

export interface ProcessOptions {
  /** Ends with the assistant's header instead of its answer. */
  addGenerationPrompt?: boolean;
}

/** Turns a record into a sample: text, ids, pixels, frames, mel, positions, loss mask. */
export interface Processor {
  process(record: ConversationRecord, options?: ProcessOptions): Promise<Sample>;
  decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): string;
}
