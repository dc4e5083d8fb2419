import type { Sample } from '../target.js';

/** Samples laid end to end, without padding: N = Σ T rows. */
export interface Packed {
  /** [N] */
  ids: Int32Array;
  axes: 1 | 3;
  /** [axes, N] */
  positions: Float32Array;
  /** [samples + 1]: sample s has rows starts[s] to starts[s + 1]. */
  starts: Int32Array;
  /** [N]: row i sees rows begin[i] ≤ j < end[i], which are those of its sample up to itself. */
  begin: Int32Array;
  end: Int32Array;
}

/** @throws Error naming the sample when one is empty, mis-shaped, or of another number of axes than the first */
export function packSamples(samples: readonly Sample[]): Packed {
  const axes = samples[0]?.axes;
  if (axes === undefined) throw new Error('[prefill] expected at least one sample, received none');
  const starts = new Int32Array(samples.length + 1);
  samples.forEach((sample, s) => {
    const length = sample.inputIds.length;
    if (length === 0) throw new Error(`[prefill] sample ${sample.id}: expected at least one token, received none`);
    if (sample.axes !== axes || sample.positionIds.length !== axes * length) {
      throw new Error(
        `[prefill] sample ${sample.id}: expected ${axes}·${length} positions, ` +
          `received ${sample.positionIds.length} on ${sample.axes} axes`,
      );
    }
    starts[s + 1] = starts[s]! + length;
  });

  const rows = starts[samples.length]!;
  const packed: Packed = {
    ids: new Int32Array(rows),
    axes,
    positions: new Float32Array(axes * rows),
    starts,
    begin: new Int32Array(rows),
    end: Int32Array.from({ length: rows }, (_, i) => i + 1),
  };
  samples.forEach(({ inputIds, positionIds }, s) => {
    const start = starts[s]!;
    const length = inputIds.length;
    packed.ids.set(inputIds, start);
    packed.begin.fill(start, start, start + length);
    for (let axis = 0; axis < axes; axis++) {
      packed.positions.set(positionIds.subarray(axis * length, (axis + 1) * length), axis * rows + start);
    }
  });
  return packed;
}
