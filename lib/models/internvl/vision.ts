import { dispose, keep, narrow, ops, reshape, scope, tensor, type Tensor } from '../../tensor.js';
import {
  attendWithin,
  EncoderLayer,
  linear,
  normalize,
  type EncoderLayerWeights,
  type LinearWeights,
  type NormWeights,
} from '../encoder/layer.js';
import type { InternVLConfig } from './config.js';

/** Weights of the vision tower and the projector; E the tower's hidden size, H the decoder's, m² patches a token. */
export interface VisionWeights {
  /** [1, E] */
  classToken: Tensor;
  /** [1 + P, E] of the class token and the P patches of a tile, row by row. */
  positions?: Tensor;
  /** [E, 3 · patch²] */
  patchEmbed: LinearWeights;
  layers: EncoderLayerWeights[];
  finalNorm?: NormWeights;
  /** [m²·E] */
  projectorNorm: NormWeights;
  /** [H, m²·E] */
  projectorIn: LinearWeights;
  /** [H, H] */
  projectorOut: LinearWeights;
}

/** Of PyTorch's layer norm. */
const projectorNormEps = 1e-5;

/**
 * Patches of a tile in blocks of merge × merge, row by row of blocks: the place of each among the patches row by row.
 * Rows in this order are pixel-shuffled (v2) by a mere reshape.
 */
export function blockOrder(patchesPerSide: number, merge: number): Int32Array {
  const blocks = patchesPerSide / merge;
  const order = new Int32Array(patchesPerSide ** 2);
  let at = 0;
  for (let block = 0; block < blocks ** 2; block++) {
    for (let i = 0; i < merge ** 2; i++) {
      const row = Math.floor(block / blocks) * merge + Math.floor(i / merge);
      order[at++] = row * patchesPerSide + (block % blocks) * merge + (i % merge);
    }
  }
  return order;
}

/** InternViT, pixel shuffle and projector. */
export class VisionTower {
  readonly #layers: EncoderLayer[];
  /** float32 [1 + P, E]: what the class token and the patches of a tile, in blocks, begin with. */
  readonly #start: Tensor;
  /** P */
  readonly #patches: number;
  readonly #weights: Omit<VisionWeights, 'classToken' | 'positions' | 'layers'>;

  /** Takes over the weights. */
  constructor(
    private readonly config: InternVLConfig,
    { classToken, positions, layers, ...weights }: VisionWeights,
  ) {
    const { vision, mergeSize } = config;
    const order = blockOrder(vision.imageSize / vision.patchSize, mergeSize);
    this.#patches = order.length;
    this.#weights = keep(weights);
    const layerConfig = { ...vision, activation: vision.hiddenAct };
    this.#layers = layers.map((layer) => new EncoderLayer(layerConfig, layer));
    this.#start = keep(
      scope(() => {
        const rows = [0, ...order.map((place) => place + 1)];
        const start = positions
          ? ops.gatherRows(positions, tensor(Int32Array.from(rows), [rows.length]))
          : ops.zeros([rows.length, vision.hiddenSize], 'float32');
        ops.addInPlace(narrow(start, 0, 0, 1), classToken);
        return start;
      }),
    );
    dispose([classToken, positions]);
  }

  /**
   * Tokens of tiles, float32 [T · P / m², H].
   *
   * @param pixels float32 [T·P, 3 · patch²]: patch rows in blocks of m × m, tile after tile
   */
  forward(pixels: Tensor): Tensor {
    return scope(() => {
      const { vision, mergeSize, projectorAct } = this.config;
      const w = this.#weights;
      const patches = this.#patches;
      const tiles = pixels.shape[0]! / patches;
      const rows = tiles * (patches + 1);
      const tileOf = (row: number): number => Math.floor(row / (patches + 1));
      const ints = (length: number, value: (i: number) => number): Tensor =>
        tensor(Int32Array.from({ length }, (_, i) => value(i)), [length]);

      const x = ops.gatherRows(this.#start, ints(rows, (row) => row % (patches + 1)));
      const places = ints(tiles * patches, (i) => i + Math.floor(i / patches) + 1);
      ops.scatterAddRows(x, places, linear(pixels, w.patchEmbed));
      const attend = attendWithin(
        ints(rows, (row) => tileOf(row) * (patches + 1)),
        ints(rows, (row) => (tileOf(row) + 1) * (patches + 1)),
      );
      for (const layer of this.#layers) layer.forward(x, attend);

      const normed = w.finalNorm ? normalize(x, w.finalNorm, { norm: 'layer', normEps: vision.normEps }) : x;
      const shuffled = reshape(ops.gatherRows(normed, places), [-1, mergeSize ** 2 * vision.hiddenSize]);
      const input = normalize(shuffled, w.projectorNorm, { norm: 'layer', normEps: projectorNormEps });
      return linear(ops.activation(linear(input, w.projectorIn), projectorAct), w.projectorOut);
    });
  }

  dispose(): void {
    for (const layer of this.#layers) layer.dispose();
    dispose([this.#weights, this.#start]);
  }
}
