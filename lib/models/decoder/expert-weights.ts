import type { Checkpoint } from '../../hub/safetensors.js';
import type { WeightSpec } from '../../hub/weights.js';
import { clone, dispose, reshape, scope, transpose, type DType, type Tensor } from '../../tensor.js';
import type { MoeConfig } from './config.js';
import type { SparseMlpWeights } from './moe.js';
import { fuseWeights, takeWeight } from './take.js';

/**
 * How a checkpoint holds the experts of a layer, under `mlp.experts.`; E experts, H hidden, I intermediate:
 * - separate: `{e}.gate_proj.weight`, `{e}.up_proj.weight` [I, H] and `{e}.down_proj.weight` [H, I];
 * - fused-out-in: `gate_up_proj` [E, 2·I, H] and `down_proj` [E, H, I];
 * - fused-in-out: `gate_up_proj` [E, H, 2·I] and `down_proj` [E, I, H].
 */
export type ExpertLayout = 'separate' | 'fused-out-in' | 'fused-in-out';

/** Sparse layers of a decoder and how a checkpoint holds them. */
export interface MoeForm extends MoeConfig {
  layout: ExpertLayout;
}

const fusedGateUp = 'mlp.experts.gate_up_proj';
const fusedDown = 'mlp.experts.down_proj';

type Shape = readonly [number, number, number];

/** Of the fused tensors. */
function fusedShapes(hiddenSize: number, moe: MoeConfig, inOut: boolean): { gateUp: Shape; down: Shape } {
  const { numExperts: experts, intermediateSize } = moe;
  return inOut
    ? { gateUp: [experts, hiddenSize, 2 * intermediateSize], down: [experts, intermediateSize, hiddenSize] }
    : { gateUp: [experts, 2 * intermediateSize, hiddenSize], down: [experts, hiddenSize, intermediateSize] };
}

/**
 * Finds how a checkpoint holds its experts. One fused tensor may fit both orders (2·I = H, or I = H), but never both of
 * them: 2·I and I cannot both be H.
 *
 * @param prefixes of the decoder's published names; other parts of a model may have experts too
 * @returns separate where there is no fused tensor
 * @throws Error naming both tensors, where their shapes fit neither order
 */
export function detectExpertLayout(
  checkpoint: Checkpoint,
  hiddenSize: number,
  moe: MoeConfig,
  prefixes: readonly string[],
): ExpertLayout {
  const gateUp = checkpoint
    .names()
    .find((name) => name.endsWith(`.${fusedGateUp}`) && prefixes.some((prefix) => name.startsWith(prefix)));
  if (gateUp === undefined) return 'separate';
  const down = gateUp.slice(0, -fusedGateUp.length) + fusedDown;
  const received = [gateUp, down].map((name) => `[${checkpoint.info(name).shape.join(', ')}]`).join(' and ');
  const shapes = [false, true].map((inOut) => {
    const expected = fusedShapes(hiddenSize, moe, inOut);
    return `[${expected.gateUp.join(', ')}] and [${expected.down.join(', ')}]`;
  });
  if (received === shapes[0]) return 'fused-out-in';
  if (received === shapes[1]) return 'fused-in-out';
  throw new Error(
    `${checkpoint.source}: ${gateUp} and ${down}: expected ${shapes.join(', or ')}, received ${received}`,
  );
}

const separateNames = (layer: string, expert: number): { gate: string; up: string; down: string } => {
  const name = (part: string): string => `${layer}mlp.experts.${expert}.${part}_proj.weight`;
  return { gate: name('gate'), up: name('up'), down: name('down') };
};

const experts = ({ numExperts }: MoeConfig): number[] => [...Array(numExperts).keys()];

/** Names and shapes of the router and experts of a layer. */
export function expertWeightSpec(
  layer: string,
  hiddenSize: number,
  moe: MoeForm,
  dtype: DType,
): Record<string, WeightSpec> {
  const { numExperts, intermediateSize, layout } = moe;
  const spec: Record<string, WeightSpec> = {
    [`${layer}mlp.gate.weight`]: { shape: [numExperts, hiddenSize], dtype },
  };
  if (layout === 'separate') {
    for (const expert of experts(moe)) {
      const { gate, up, down } = separateNames(layer, expert);
      spec[gate] = { shape: [intermediateSize, hiddenSize], dtype };
      spec[up] = { shape: [intermediateSize, hiddenSize], dtype };
      spec[down] = { shape: [hiddenSize, intermediateSize], dtype };
    }
  } else {
    const { gateUp, down } = fusedShapes(hiddenSize, moe, layout === 'fused-in-out');
    spec[layer + fusedGateUp] = { shape: gateUp, dtype };
    spec[layer + fusedDown] = { shape: down, dtype };
  }
  return spec;
}

/** Matrices of a stack [E, in, out] as [E, out, in]. */
function turned(stack: Tensor): Tensor {
  const out = scope(() => clone(transpose(stack, 1, 2)));
  dispose(stack);
  return out;
}

/** The router and experts of a layer out of what {@link expertWeightSpec} loaded, in the layout of {@link SparseMlpWeights}. */
export function takeExpertWeights(
  loaded: Map<string, Tensor>,
  layer: string,
  hiddenSize: number,
  moe: MoeForm,
): SparseMlpWeights {
  const { expertsPerToken, normTopkProb, layout } = moe;
  const router = takeWeight(loaded, `${layer}mlp.gate.weight`);
  const common = { kind: 'sparse', router, expertsPerToken, normTopkProb } as const;
  if (layout === 'separate') {
    const names = experts(moe).map((expert) => separateNames(layer, expert));
    const shapes = fusedShapes(hiddenSize, moe, false);
    const gateUp = fuseWeights(loaded, names.flatMap(({ gate, up }) => [gate, up]));
    const down = fuseWeights(loaded, names.map((name) => name.down));
    return { ...common, gateUp: reshape(gateUp, [...shapes.gateUp]), down: reshape(down, [...shapes.down]) };
  }
  const order = layout === 'fused-in-out' ? turned : (stack: Tensor): Tensor => stack;
  return {
    ...common,
    gateUp: order(takeWeight(loaded, layer + fusedGateUp)),
    down: order(takeWeight(loaded, layer + fusedDown)),
  };
}
