import { clone, dispose, keep, ops, reshape, scope, tensor, transpose, type DType, type Tensor } from '../../tensor.js';
import { linearSlots, Slot, type Loaded } from '../blueprint.js';
import { linear } from '../encoder/layer.js';
import type { Qwen3OmniAudioConfig } from './config.js';

/** Rows of a map that a 3×3 convolution of stride 2 and padding 1 reads. */
interface MapSize {
  maps: number;
  /** Steps in time, and bands. */
  steps: number;
  bands: number;
}

const half = ({ maps, steps, bands }: MapSize): MapSize => ({
  maps,
  steps: Math.ceil(steps / 2),
  bands: Math.ceil(bands / 2),
});

const kernel = 9;
const layers = 3;

/** Chunks that go through the convolutions at a time: the patches of more would take much memory. */
const batch = 8;

/**
 * For every place of the halved maps (map, step, band) the rows that its kernel covers, band by band; `outside` where it
 * covers none.
 */
function kernelRows(size: MapSize, outside: number): Int32Array {
  const out = half(size);
  const rows = new Int32Array(out.maps * out.steps * out.bands * kernel);
  let at = 0;
  for (let map = 0; map < out.maps; map++) {
    for (let step = 0; step < out.steps; step++) {
      for (let band = 0; band < out.bands; band++) {
        for (let i = 0; i < kernel; i++, at++) {
          const b = 2 * band + Math.floor(i / 3) - 1;
          const s = 2 * step + (i % 3) - 1;
          const inside = b >= 0 && b < size.bands && s >= 0 && s < size.steps;
          rows[at] = inside ? (map * size.steps + s) * size.bands + b : outside;
        }
      }
    }
  }
  return rows;
}

/** Weights of the convolutions and of the projection behind them; C channels. */
export function downsamplingBlueprint({ mels, channels, hiddenSize }: Qwen3OmniAudioConfig, dtype: DType) {
  const bands = Math.ceil(Math.ceil(Math.ceil(mels / 2) / 2) / 2);
  return {
    convolutions: Array.from({ length: layers }, (_, i) => {
      const name = `audio_tower.conv2d${i + 1}`;
      return {
        weight: new Slot([`${name}.weight`], [[channels, i === 0 ? 1 : channels, 3, 3]], dtype),
        bias: new Slot([`${name}.bias`], [[channels]], 'float32'),
      };
    }),
    projection: linearSlots('audio_tower.conv_out', hiddenSize, channels * bands, dtype, false),
  };
}

export type DownsamplingWeights = Loaded<ReturnType<typeof downsamplingBlueprint>>;

/** [out, a, b] as [out, b·a]: the last index of a row's features comes first. */
function turned(weight: Tensor, a: number, b: number): Tensor {
  const rows = weight.shape[0]!;
  return reshape(clone(transpose(reshape(weight, [rows, a, b]), 1, 2)), [rows, a * b]);
}

/** Three convolutions that each halve time and bands, and a projection: mel frames become rows of the encoder. */
export class Downsampling {
  readonly #convolutions: { weight: Tensor; bias: Tensor }[];
  readonly #projection: Tensor;

  /** Takes over the weights. */
  constructor(
    private readonly mels: number,
    { convolutions, projection }: DownsamplingWeights,
  ) {
    const channels = convolutions[0]!.bias.size;
    const features = projection.weight.shape[1]!;
    this.#convolutions = keep(
      convolutions.map(({ weight, bias }) => ({
        weight: scope(() => turned(weight, weight.shape[1]!, kernel)),
        bias,
      })),
    );
    this.#projection = keep(scope(() => turned(projection.weight, channels, features / channels)));
    dispose([convolutions.map(({ weight }) => weight), projection]);
  }

  /**
   * Rows of chunks of equal length.
   *
   * @param chunks float32 [chunks, frames, mels]
   * @returns float32 [chunks, ⌈frames / 8⌉, H]
   */
  forward(chunks: Tensor): Tensor {
    const [count, frames] = chunks.shape as [number, number];
    return scope(() => {
      const parts: Tensor[] = [];
      for (let at = 0; at < count; at += batch) {
        const part = chunks.narrow(0, at, Math.min(batch, count - at));
        parts.push(this.#convolve(part, frames));
        part.dispose();
      }
      return ops.cat(parts, 0);
    });
  }

  #convolve(chunks: Tensor, frames: number): Tensor {
    return scope(() => {
      let size: MapSize = { maps: chunks.shape[0]!, steps: frames, bands: this.mels };
      let x = reshape(chunks, [-1, 1]);
      for (const convolution of this.#convolutions) {
        const channels = x.shape[1]!;
        const padded = ops.cat([x, ops.zeros([1, channels], 'float32')], 0);
        const rows = kernelRows(size, x.shape[0]!);
        const patches = reshape(ops.gatherRows(padded, tensor(rows, [rows.length])), [-1, kernel * channels]);
        x = ops.activation(linear(patches, convolution), 'gelu');
        size = half(size);
      }
      const features = reshape(x, [size.maps * size.steps, -1]);
      const projected = ops.matmul(features, this.#projection, { transposeB: true });
      return reshape(projected, [size.maps, size.steps, -1]);
    });
  }

  dispose(): void {
    dispose([this.#convolutions, this.#projection]);
  }
}
