import { dispose, keep, ops, scope, tensor, type DType, type Tensor } from '../../tensor.js';
import { linearSlots, matrix, normSlots, Slot, type Loaded } from '../blueprint.js';
import { attendWithin, EncoderLayer, linear } from '../encoder/layer.js';
import type { EncodedMedia } from '../multimodal-target.js';
import { axialFrequencies, axialTables, layOutFrames } from '../qwen_vl/frames.js';
import { mergerBlueprint, PatchMerger, type MergerNames } from '../qwen_vl/merger.js';
import type { VisionTower } from '../qwen_vl/target.js';
import type { Grid } from '../qwen_vl/visual-feature.js';
import type { Qwen3VLVisionConfig } from './config.js';
import { interpolatePositions } from './learned-positions.js';

/** Names of the mergers: the main one's, and those of the deepstack mergers by their index. */
export interface VisionNames {
  merger: MergerNames;
  deepstackMerger: (index: number) => MergerNames;
}

const mergerNames = (prefix: string): MergerNames => ({
  norm: `${prefix}.norm`,
  in: `${prefix}.linear_fc1`,
  out: `${prefix}.linear_fc2`,
});

/** As Qwen3-VL checkpoints have them. */
const qwen3VLNames: VisionNames = {
  merger: mergerNames('visual.merger'),
  deepstackMerger: (index) => mergerNames(`visual.deepstack_merger_list.${index}`),
};

/** Weights of the tower under `visual.`; E its hidden size. */
export function visionBlueprint(config: Qwen3VLVisionConfig, dtype: DType, names: VisionNames = qwen3VLNames) {
  const { hiddenSize, intermediateSize, inChannels, temporalPatchSize, patchSize: side } = config;
  return {
    patchEmbed: {
      weight: matrix('visual.patch_embed.proj.weight', [hiddenSize, inChannels, temporalPatchSize, side, side], dtype),
      bias: new Slot(['visual.patch_embed.proj.bias'], [[hiddenSize]], 'float32'),
    },
    /** [side², E], float32: it is interpolated. */
    positions: new Slot(['visual.pos_embed.weight'], [[config.numPositionEmbeddings, hiddenSize]], 'float32'),
    blocks: Array.from({ length: config.depth }, (_, i) => {
      const block = `visual.blocks.${i}`;
      return {
        norm1: normSlots(`${block}.norm1`, hiddenSize),
        qkv: linearSlots(`${block}.attn.qkv`, 3 * hiddenSize, hiddenSize, dtype),
        output: linearSlots(`${block}.attn.proj`, hiddenSize, hiddenSize, dtype),
        norm2: normSlots(`${block}.norm2`, hiddenSize),
        up: linearSlots(`${block}.mlp.linear_fc1`, intermediateSize, hiddenSize, dtype),
        down: linearSlots(`${block}.mlp.linear_fc2`, hiddenSize, intermediateSize, dtype),
      };
    }),
    merger: mergerBlueprint(names.merger, config, 'patches', dtype),
    deepstackMergers: config.deepstackVisualIndexes.map((_, k) =>
      mergerBlueprint(names.deepstackMerger(k), config, 'merged', dtype),
    ),
  };
}

export type VisionWeights = Loaded<ReturnType<typeof visionBlueprint>>;

/**
 * Vision tower of Qwen3-VL and Qwen3-Omni: learned positions beside a two-dimensional rotary embedding, attention within
 * frames, and features of some blocks for the decoder's first layers beside the last block's.
 */
export class Qwen3VLVisionTower implements VisionTower {
  readonly #blocks: EncoderLayer[];
  readonly #merger: PatchMerger;
  /** By the block that they read. */
  readonly #deepstackMergers: Map<number, PatchMerger>;
  readonly #others: Pick<VisionWeights, 'patchEmbed' | 'positions'>;
  readonly #frequencies: Tensor;

  /** Takes over the weights. */
  constructor(
    private readonly config: Qwen3VLVisionConfig,
    { patchEmbed, positions, blocks, merger, deepstackMergers }: VisionWeights,
  ) {
    const { hiddenSize, numHeads, intermediateSize, hiddenAct: activation } = config;
    const layer = { hiddenSize, numHeads, intermediateSize, norm: 'layer', normEps: 1e-6, activation } as const;
    this.#others = keep({ patchEmbed, positions });
    this.#blocks = blocks.map((block) => new EncoderLayer(layer, block));
    this.#merger = new PatchMerger(merger);
    this.#deepstackMergers = new Map(
      config.deepstackVisualIndexes.map((block, k) => [block, new PatchMerger(deepstackMergers[k]!)]),
    );
    const frequencies = axialFrequencies(config.ropeTheta, hiddenSize / numHeads);
    this.#frequencies = keep(tensor(frequencies, [frequencies.length]));
  }

  /** {@link VisionTower.forward} */
  forward(pixels: Tensor, grids: readonly Grid[]): Required<EncodedMedia> {
    return scope(() => {
      const patches = pixels.shape[0]!;
      const { spatialMergeSize } = this.config;
      const layout = layOutFrames(grids, spatialMergeSize);
      const attend = attendWithin(tensor(layout.begin, [patches]), tensor(layout.end, [patches]));
      const tables = axialTables(layout.positions, this.#frequencies);
      const x = linear(pixels, this.#others.patchEmbed);
      ops.addInPlace(x, interpolatePositions(this.#others.positions, grids, layout));
      const deepstack: Tensor[] = [];
      this.#blocks.forEach((block, i) => {
        block.forward(x, attend, tables);
        const merger = this.#deepstackMergers.get(i);
        if (merger) deepstack.push(merger.forward(x));
      });
      return { tokens: this.#merger.forward(x), deepstack };
    });
  }

  dispose(): void {
    for (const part of [...this.#blocks, this.#merger, ...this.#deepstackMergers.values()]) part.dispose();
    dispose([this.#others, this.#frequencies]);
  }
}
