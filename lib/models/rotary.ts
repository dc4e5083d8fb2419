import { dispose, keep, ops, tensor, type Tensor } from '../tensor.js';
import type { RotaryConfig } from './target.js';

/** cos and sin of the rotation angles, float32 [N, F]. */
export interface RopeTables {
  cos: Tensor;
  sin: Tensor;
}

interface Scaling {
  frequencies: Float32Array;
  /** Multiplies cos and sin. */
  attentionFactor: number;
}

/** Number of frequencies: half of the rotated features of a head. */
function frequencyCount({ headDim, partialRotaryFactor }: RotaryConfig): number {
  return Math.trunc(headDim * partialRotaryFactor) / 2;
}

/** theta^(−2j/dim), each operation rounded to float32 as transformers does. */
function plainFrequencies(config: RotaryConfig): Float32Array {
  const count = frequencyCount(config);
  return Float32Array.from({ length: count }, (_, j) => 1 / Math.fround(config.theta ** Math.fround(j / count)));
}

function field(config: RotaryConfig, key: string): number {
  const value = config.scaling?.[key];
  if (typeof value !== 'number') {
    throw new Error(`rope scaling ${ropeType(config)}: ${key}: expected a number, received ${JSON.stringify(value)}`);
  }
  return value;
}

function optional(config: RotaryConfig, key: string, otherwise: number): number {
  return config.scaling?.[key] == null ? otherwise : field(config, key);
}

/** `rope_type` of the scaling, as either version of the key names it. */
export function ropeType({ scaling }: RotaryConfig): string {
  const type = scaling?.['rope_type'] ?? scaling?.['type'] ?? 'default';
  return typeof type === 'string' ? type : JSON.stringify(type);
}

function plain(config: RotaryConfig): Scaling {
  return { frequencies: plainFrequencies(config), attentionFactor: 1 };
}

function linear(config: RotaryConfig): Scaling {
  const factor = field(config, 'factor');
  return { frequencies: plainFrequencies(config).map((frequency) => frequency / factor), attentionFactor: 1 };
}

/** Llama 3.1: slow frequencies are divided by the factor, fast ones kept, those between blended. */
function llama3(config: RotaryConfig): Scaling {
  const factor = field(config, 'factor');
  const low = field(config, 'low_freq_factor');
  const high = field(config, 'high_freq_factor');
  const trained = field(config, 'original_max_position_embeddings');
  const frequencies = plainFrequencies(config).map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < trained / high) return frequency;
    if (wavelength > trained / low) return frequency / factor;
    const smooth = (trained / wavelength - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
  return { frequencies, attentionFactor: 1 };
}

/** YaRN (Peng et al. 2023, arXiv:2309.00071), with DeepSeek's mscale fields. */
function yarn(config: RotaryConfig): Scaling {
  const factor = field(config, 'factor');
  const trained = field(config, 'original_max_position_embeddings');
  const count = frequencyCount(config);
  const dim = 2 * count;
  const correction = (rotations: number): number =>
    (dim * Math.log(trained / (rotations * 2 * Math.PI))) / (2 * Math.log(config.theta));
  let low = correction(optional(config, 'beta_fast', 32));
  let high = correction(optional(config, 'beta_slow', 1));
  if (config.scaling?.['truncate'] !== false) {
    low = Math.floor(low);
    high = Math.ceil(high);
  }
  low = Math.max(low, 0);
  high = Math.min(high, dim - 1);
  if (low === high) high += 0.001;
  const frequencies = plainFrequencies(config).map((frequency, j) => {
    const interpolated = Math.min(Math.max((j - low) / (high - low), 0), 1);
    return (frequency / factor) * interpolated + frequency * (1 - interpolated);
  });
  const magnitude = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const numerator = optional(config, 'mscale', 0);
  const denominator = optional(config, 'mscale_all_dim', 0);
  const standard = numerator && denominator ? magnitude(numerator) / magnitude(denominator) : magnitude(1);
  return { frequencies, attentionFactor: optional(config, 'attention_factor', standard) };
}

const scalings = new Map<string, (config: RotaryConfig) => Scaling>([
  ['default', plain],
  ['mrope', plain],
  // Dynamic NTK scaling changes nothing up to max_position_embeddings; processors refuse longer prompts.
  ['dynamic', plain],
  ['linear', linear],
  ['llama3', llama3],
  ['yarn', yarn],
]);

function scale(config: RotaryConfig): Scaling {
  const build = scalings.get(ropeType(config));
  if (!build) {
    throw new Error(
      `rope scaling: expected one of ${[...scalings.keys()].join(', ')}, received ${ropeType(config)}`,
    );
  }
  return build(config);
}

/**
 * Inverse frequencies [F] of a rotary embedding, F = half of the rotated features of a head.
 *
 * @throws Error for a scaling type that is not known, or one whose fields are missing
 */
export function inverseFrequencies(config: RotaryConfig): Float32Array {
  return scale(config).frequencies;
}

/** Rotary embedding of a decoder: turns positions into the tables that `ops.rope` reads. */
export class Rotary {
  readonly #inverseFrequencies: Tensor;
  readonly #attentionFactor: number;

  constructor(private readonly config: RotaryConfig) {
    const { frequencies, attentionFactor } = scale(config);
    const { mropeSection } = config;
    const sum = mropeSection?.reduce((total, count) => total + count, 0);
    if (sum !== undefined && sum !== frequencies.length) {
      throw new Error(`mrope_section: expected a sum of ${frequencies.length}, received ${sum}`);
    }
    this.#inverseFrequencies = keep(tensor(frequencies, [frequencies.length]));
    this.#attentionFactor = attentionFactor;
  }

  /**
   * Tables for positions, float32 [axes, N], all moved on by `offset`. With one axis a sectioned rotary embedding is
   * the ordinary one.
   */
  tables(positions: Tensor, offset = 0): RopeTables {
    const { mropeSection, mropeInterleaved = false } = this.config;
    const scaling = this.#attentionFactor;
    return positions.shape[0] === 1 || !mropeSection
      ? ops.ropeTables(positions, this.#inverseFrequencies, { offset, scaling })
      : ops.ropeTables(positions, this.#inverseFrequencies, {
          sections: mropeSection,
          interleaved: mropeInterleaved,
          offset,
          scaling,
        });
  }

  dispose(): void {
    dispose(this.#inverseFrequencies);
  }
}
