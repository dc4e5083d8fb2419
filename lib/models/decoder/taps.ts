import { narrow, ops, reshape, scope, type Tensor } from '../../tensor.js';

/** Copies the residual stream at layer boundaries while a forward pass runs. */
export class Taps {
  /** [N, aux·H], boundaries in ascending order. */
  readonly aux: Tensor;
  /** [numLayers + 1, N, H] */
  readonly all: Tensor | undefined;
  /** Ascending. */
  readonly boundaries: readonly number[];

  /**
   * @param auxLayerIds boundary ids: k is the input of layer k
   * @throws Error unless the ids are different integers from 0 to numLayers
   */
  constructor(
    private readonly rows: number,
    private readonly hiddenSize: number,
    numLayers: number,
    auxLayerIds: readonly number[],
    allLayers: boolean,
  ) {
    this.boundaries = [...auxLayerIds].sort((a, b) => a - b);
    this.boundaries.forEach((id, i) => {
      if (!Number.isInteger(id) || id < 0 || id > numLayers || id === this.boundaries[i - 1]) {
        throw new Error(
          `[target] auxLayerIds: expected different integers from 0 to ${numLayers}, received [${auxLayerIds.join(', ')}]`,
        );
      }
    });
    this.aux = ops.zeros([rows, auxLayerIds.length * hiddenSize], 'float32');
    this.all = allLayers ? ops.zeros([numLayers + 1, rows, hiddenSize], 'float32') : undefined;
  }

  /** To be called before layer `boundary`, and after the last layer, with the residual stream [N, H]. */
  capture(boundary: number, x: Tensor): void {
    const slot = this.boundaries.indexOf(boundary);
    if (slot < 0 && !this.all) return;
    scope(() => {
      if (slot >= 0) narrow(this.aux, 1, slot * this.hiddenSize, this.hiddenSize).copyFrom(x);
      if (this.all) reshape(narrow(this.all, 0, boundary, 1), [this.rows, this.hiddenSize]).copyFrom(x);
    });
  }
}
