import { dispose, keep, ops, reshape, scope, tensor, type Tensor } from '../../tensor.js';
import { attentionDtype } from '../attention-dtype.js';
import { TransformerLayer, Workspace, type LayerConfig } from '../decoder/layer.js';
import { linear } from '../encoder/layer.js';
import type { EncodedMedia } from '../multimodal-target.js';
import { axialFrequencies, axialTables } from '../qwen_vl/frames.js';
import type { VisionTower } from '../qwen_vl/target.js';
import type { Grid } from '../qwen_vl/visual-feature.js';
import type { Qwen2_5VLVisionConfig } from './config.js';
import { layOutPatches } from './vision-layout.js';
import { blockWeights, type VisionWeights } from './weights.js';

/** All RMS norms of the tower, whatever the decoder's. */
const rmsNormEps = 1e-6;

/** Vision tower of Qwen2.5-VL: attention within windows in most blocks, within the frame in some. */
export class Qwen2_5VLVisionTower implements VisionTower {
  readonly #blocks: TransformerLayer[];
  readonly #layerConfig: LayerConfig;
  readonly #frequencies: Tensor;

  /** Takes over the weights. */
  constructor(
    private readonly config: Qwen2_5VLVisionConfig,
    private readonly weights: VisionWeights,
  ) {
    keep(weights);
    const headDim = config.hiddenSize / config.numHeads;
    this.#layerConfig = {
      hiddenSize: config.hiddenSize,
      numHeads: config.numHeads,
      numKeyValueHeads: config.numHeads,
      headDim,
      intermediateSize: config.intermediateSize,
      rmsNormEps,
      activation: config.hiddenAct,
    };
    this.#blocks = weights.blocks.map((block) => new TransformerLayer(this.#layerConfig, blockWeights(block)));
    const frequencies = axialFrequencies(config.ropeTheta, headDim);
    this.#frequencies = keep(tensor(frequencies, [frequencies.length]));
  }

  /** {@link VisionTower.forward} */
  forward(pixels: Tensor, grids: readonly Grid[]): EncodedMedia {
    return scope(() => {
      const patches = pixels.shape[0]!;
      const layout = layOutPatches(grids, this.config);
      const rows = (data: Int32Array): Tensor => tensor(data, [patches]);
      const windows = { begin: rows(layout.windowBegin), end: rows(layout.windowEnd) };
      const frames = { begin: rows(layout.frameBegin), end: rows(layout.frameEnd) };
      const tables = axialTables(layout.positions, this.#frequencies);

      const embedded = ops.matmul(pixels, this.weights.patchEmbed, { transposeB: true });
      const x = ops.gatherRows(embedded, rows(layout.order));
      dispose(embedded);
      const dtype = attentionDtype(this.weights.patchEmbed);
      const buffers = new Workspace(patches, this.#layerConfig);
      try {
        this.#blocks.forEach((block, i) => {
          const { begin, end } = this.config.fullAttentionBlockIndexes.includes(i) ? frames : windows;
          block.forward(x, tables, (q, k, v, out) => { ops.attention(q, k, v, begin, end, { out, dtype }); }, buffers);
        });
      } finally {
        buffers.dispose();
      }
      return { tokens: ops.gatherRows(this.#merge(x), tensor(layout.reverse, [layout.reverse.length])) };
    });
  }

  /** Merges every m² rows [P, E] into a token [P / m², H]. */
  #merge(x: Tensor): Tensor {
    const { mergerNorm, mergerIn, mergerOut } = this.weights;
    const normed = ops.rmsNorm(x, mergerNorm, rmsNormEps);
    const merged = reshape(normed, [-1, mergerIn.weight.shape[1]!]);
    return linear(ops.activation(linear(merged, mergerIn), 'gelu'), mergerOut);
  }

  dispose(): void {
    dispose([this.weights, this.#frequencies]);
  }
}
