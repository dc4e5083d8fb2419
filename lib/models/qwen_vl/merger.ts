import { dispose, keep, ops, reshape, scope, type DType, type Tensor } from '../../tensor.js';
import { linearSlots, normSlots, type Loaded } from '../blueprint.js';
import { linear, normalize } from '../encoder/layer.js';

/** Sizes of a merger: patches of E features become tokens of H. */
export interface MergerConfig {
  hiddenSize: number;
  /** Patches per side that are merged into one token. */
  spatialMergeSize: number;
  outHiddenSize: number;
}

/** Names of a merger's parts. */
export interface MergerNames {
  norm: string;
  in: string;
  out: string;
}

/** Blueprint of a merger; `normed` says whether single patches or merged ones are normalised. */
export function mergerBlueprint(
  names: MergerNames,
  { hiddenSize, spatialMergeSize, outHiddenSize }: MergerConfig,
  normed: 'patches' | 'merged',
  dtype: DType,
) {
  const merged = hiddenSize * spatialMergeSize ** 2;
  return {
    norm: normSlots(names.norm, normed === 'merged' ? merged : hiddenSize),
    in: linearSlots(names.in, merged, merged, dtype),
    out: linearSlots(names.out, outHiddenSize, merged, dtype),
  };
}

export type MergerWeights = Loaded<ReturnType<typeof mergerBlueprint>>;

/** Layer norm, merging of m² patches into a row, and a two-layer perceptron. */
export class PatchMerger {
  /** Takes over the weights. */
  constructor(private readonly weights: MergerWeights) {
    keep(weights);
  }

  /** Patches [P, E], m² after m², as tokens [P / m², H]. */
  forward(x: Tensor): Tensor {
    const { norm, in: into, out } = this.weights;
    return scope(() => {
      const rows = reshape(x, [-1, norm.weight.size]);
      const normed = normalize(rows, norm, { norm: 'layer', normEps: 1e-6 });
      const merged = reshape(normed, [-1, into.weight.shape[1]!]);
      return linear(ops.activation(linear(merged, into), 'gelu'), out);
    });
  }

  dispose(): void {
    dispose(this.weights);
  }
}
