import type { TargetInfo } from '../models/target.js';

export type Engine = 'sglang' | 'vllm';

/** Everything in which engines differ and that a draft must be trained for; section 8 of the training contract. */
export interface ServingContract {
  engine: Engine;
  /** Boundary ids, ascending: id k is the input of decoder layer k. */
  auxLayerIds: number[];
  /** What the draft sees at media slots: the target's merged embedding, or that of the placeholder id. */
  multimodalEmbedding: 'merged' | 'placeholder';
  /** Positions of the draft: the target's multimodal ones, or the absolute index in the sequence. */
  positions: 'mrope' | 'index';
  /** Aux states at visual slots of targets with deepstack: before or after a layer's features are added. */
  deepstack: 'before' | 'after';
  /** Where text goes on after a clip: see `ropeIndexQwenVL`. */
  positionRule: 'engines' | 'transformers5';
}

/** What a user may set; the rest follows from `engine` and the target. */
export type ServingOptions = { engine: Engine } & Partial<ServingContract>;

/** Whether {@link defaultAuxLayerIds} of so many layers are three, in order. */
export function hasDefaultAuxLayers(numLayers: number): boolean {
  return 2 < Math.floor(numLayers / 2) && Math.floor(numLayers / 2) < numLayers - 3;
}

/** [2, N/2, N−3], the ids that both engines take when a draft's config names none. */
export function defaultAuxLayerIds(numLayers: number): number[] {
  const ids = [2, Math.floor(numLayers / 2), numLayers - 3];
  if (hasDefaultAuxLayers(numLayers)) return ids;
  throw new Error(
    `aux layers: the default [2, N/2, N−3] = [${ids.join(', ')}] is not ascending for a target of ${numLayers} layers; ` +
      'set draft.auxLayerIds',
  );
}

/** Completes the options by the engine's rules (reference: SGLang and vLLM, August 2026). */
export function resolveContract(options: ServingOptions, target: TargetInfo): ServingContract {
  const auxLayerIds = [...(options.auxLayerIds ?? defaultAuxLayerIds(target.numLayers))];
  auxLayerIds.forEach((id, i) => {
    const previous = auxLayerIds[i - 1] ?? -1;
    if (!Number.isInteger(id) || id <= previous || id > target.numLayers) {
      throw new Error(
        `aux layers: expected ascending boundary ids from 0 to ${target.numLayers}, received [${auxLayerIds.join(', ')}]`,
      );
    }
  });
  const sglang = options.engine === 'sglang';
  const multimodalRope = target.rotary.mropeSection !== undefined;
  const contract: ServingContract = {
    engine: options.engine,
    auxLayerIds,
    multimodalEmbedding: options.multimodalEmbedding ?? (sglang ? 'merged' : 'placeholder'),
    // vLLM's V2 runner, the default for dense targets, gives every draft the absolute index.
    positions: options.positions ?? (sglang && multimodalRope ? 'mrope' : 'index'),
    deepstack: options.deepstack ?? (sglang ? 'before' : 'after'),
    positionRule: options.positionRule ?? 'engines',
  };
  if (contract.positions === 'mrope' && !multimodalRope) {
    throw new Error(
      `positions: expected 'index' for ${target.architecture}, which has no multimodal rope, received 'mrope'`,
    );
  }
  return contract;
}

/** Whether both engines would choose these layers by themselves. */
export function isDefaultAuxLayers(ids: readonly number[], numLayers: number): boolean {
  return numLayers >= 6 && ids.join() === [2, Math.floor(numLayers / 2), numLayers - 3].join();
}
