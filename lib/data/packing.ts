import type { Sample } from '../models/target.js';

/** Sequences end to end, without padding: N = Σ T. */
export interface PackedBatch {
  samples: readonly Sample[];
  /** [B + 1]: sequence b holds rows offsets[b] ≤ i < offsets[b + 1]. */
  offsets: Int32Array;
  /** [N] */
  inputIds: Int32Array;
  /** [N] */
  lossMask: Uint8Array;
  axes: 1 | 3;
  /** [axes, N] row-major: the positions that the draft rotates with. */
  positionIds: Float32Array;
}

/**
 * Packs samples. `positions: 'index'` replaces the target's position ids by the absolute index in the sequence, as
 * engines do that give a draft 1-D positions.
 */
export function pack(samples: readonly Sample[], positions: 'mrope' | 'index'): PackedBatch {
  const offsets = new Int32Array(samples.length + 1);
  samples.forEach((sample, b) => {
    offsets[b + 1] = offsets[b]! + sample.inputIds.length;
  });
  const rows = offsets[samples.length]!;
  const axes = positions === 'index' ? 1 : (samples[0]?.axes ?? 1);
  const batch = {
    samples,
    offsets,
    inputIds: new Int32Array(rows),
    lossMask: new Uint8Array(rows),
    axes,
    positionIds: new Float32Array(axes * rows),
  };
  samples.forEach((sample, b) => {
    const start = offsets[b]!;
    const length = sample.inputIds.length;
    batch.inputIds.set(sample.inputIds, start);
    batch.lossMask.set(sample.lossMask, start);
    for (let axis = 0; axis < axes; axis++) {
      const at = axis * rows + start;
      if (positions === 'index') for (let t = 0; t < length; t++) batch.positionIds[at + t] = t;
      else batch.positionIds.set(sample.positionIds.subarray(axis * length, (axis + 1) * length), at);
    }
  });
  return batch;
}

/**
 * Groups lengths, in order, into batches of at most `budget` rows; a longer sequence makes a batch of its own.
 * Returns indices into `lengths`.
 */
export function packGroups(order: ArrayLike<number>, lengths: ArrayLike<number>, budget: number): number[][] {
  const groups: number[][] = [];
  let rows = 0;
  for (let i = 0; i < order.length; i++) {
    const index = order[i]!;
    const length = lengths[index]!;
    if (groups.length === 0 || rows + length > budget) {
      groups.push([]);
      rows = 0;
    }
    groups.at(-1)!.push(index);
    rows += length;
  }
  return groups;
}
