import { dispose, keep, ops, scope, tensor, type DType, type Tensor } from '../../tensor.js';
import { linearSlots, matrix, normSlots, type Loaded } from '../blueprint.js';
import { attendWithin, EncoderLayer } from '../encoder/layer.js';
import type { EncodedMedia } from '../multimodal-target.js';
import { axialFrequencies, axialTables, layOutFrames } from '../qwen_vl/frames.js';
import { mergerBlueprint, PatchMerger } from '../qwen_vl/merger.js';
import type { VisionTower } from '../qwen_vl/target.js';
import type { Grid } from '../qwen_vl/visual-feature.js';
import type { Qwen2VLVisionConfig } from './config.js';

/** Weights of the tower under `visual.` */
export function visionBlueprint(config: Qwen2VLVisionConfig, dtype: DType) {
  const { hiddenSize, intermediateSize, inChannels, temporalPatchSize, patchSize: side } = config;
  const merger = { norm: 'visual.merger.ln_q', in: 'visual.merger.mlp.0', out: 'visual.merger.mlp.2' };
  return {
    patchEmbed: matrix('visual.patch_embed.proj.weight', [hiddenSize, inChannels, temporalPatchSize, side, side], dtype),
    blocks: Array.from({ length: config.depth }, (_, i) => {
      const block = `visual.blocks.${i}`;
      return {
        norm1: normSlots(`${block}.norm1`, hiddenSize),
        qkv: linearSlots(`${block}.attn.qkv`, 3 * hiddenSize, hiddenSize, dtype),
        output: linearSlots(`${block}.attn.proj`, hiddenSize, hiddenSize, dtype),
        norm2: normSlots(`${block}.norm2`, hiddenSize),
        up: linearSlots(`${block}.mlp.fc1`, intermediateSize, hiddenSize, dtype),
        down: linearSlots(`${block}.mlp.fc2`, hiddenSize, intermediateSize, dtype),
      };
    }),
    merger: mergerBlueprint(merger, config, 'patches', dtype),
  };
}

export type VisionWeights = Loaded<ReturnType<typeof visionBlueprint>>;

/** Vision tower of Qwen2-VL: a two-dimensional rotary embedding and attention within frames. */
export class Qwen2VLVisionTower implements VisionTower {
  readonly #patchEmbed: Tensor;
  readonly #blocks: EncoderLayer[];
  readonly #merger: PatchMerger;
  readonly #frequencies: Tensor;

  /** Takes over the weights. */
  constructor(
    private readonly config: Qwen2VLVisionConfig,
    { patchEmbed, blocks, merger }: VisionWeights,
  ) {
    const { hiddenSize, numHeads, intermediateSize, hiddenAct: activation } = config;
    const layer = { hiddenSize, numHeads, intermediateSize, norm: 'layer', normEps: 1e-6, activation } as const;
    this.#patchEmbed = keep(patchEmbed);
    this.#blocks = blocks.map((block) => new EncoderLayer(layer, block));
    this.#merger = new PatchMerger(merger);
    const frequencies = axialFrequencies(config.ropeTheta, hiddenSize / numHeads);
    this.#frequencies = keep(tensor(frequencies, [frequencies.length]));
  }

  /** {@link VisionTower.forward} */
  forward(pixels: Tensor, grids: readonly Grid[]): EncodedMedia {
    return scope(() => {
      const patches = pixels.shape[0]!;
      const layout = layOutFrames(grids, this.config.spatialMergeSize);
      const attend = attendWithin(tensor(layout.begin, [patches]), tensor(layout.end, [patches]));
      const tables = axialTables(layout.positions, this.#frequencies);
      const x = ops.matmul(pixels, this.#patchEmbed, { transposeB: true });
      for (const block of this.#blocks) block.forward(x, attend, tables);
      return { tokens: this.#merger.forward(x) };
    });
  }

  dispose(): void {
    for (const part of [...this.#blocks, this.#merger]) part.dispose();
    dispose([this.#patchEmbed, this.#frequencies]);
  }
}
