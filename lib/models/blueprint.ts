import type { WeightSpec } from '../hub/weights.js';
import { reshape, type DType, type Tensor } from '../tensor.js';
import { fuseWeights, takeWeight } from './decoder/weights.js';

/**
 * A weight of a module before it is loaded. Modules describe their weights once, as a blueprint of the same shape as
 * their weights: from it come both what a checkpoint must hold and the loaded weights.
 */
export class Slot {
  constructor(
    /** Canonical names; the rows of several are put one after another. */
    readonly names: readonly string[],
    /** Shape in the file of each. */
    readonly shapes: readonly (readonly number[])[],
    readonly dtype: DType,
    /** Shape in memory where it differs. */
    readonly view?: readonly number[],
  ) {}
}

/** A blueprint with its slots loaded. */
export type Loaded<T> = T extends Slot ? Tensor : { [K in keyof T]: Loaded<T[K]> };

/** Vectors are float32, whatever the matrices are. */
export function vector(name: string, size: number): Slot {
  return new Slot([name], [[size]], 'float32');
}

/** A matrix of any rank in the file, [shape[0], rest] in memory. */
export function matrix(name: string, shape: readonly number[], dtype: DType): Slot {
  const [rows = 1, ...rest] = shape;
  return new Slot([name], [shape], dtype, [rows, rest.reduce((size, n) => size * n, 1)]);
}

/** `name.weight` [outputs, inputs] and, unless told otherwise, `name.bias`. */
export function linearSlots(
  name: string,
  outputs: number,
  inputs: number,
  dtype: DType,
  bias = true,
): { weight: Slot; bias?: Slot } {
  return {
    weight: matrix(`${name}.weight`, [outputs, inputs], dtype),
    ...(bias && { bias: vector(`${name}.bias`, outputs) }),
  };
}

/** Several linear layers of the same inputs as one: rows of each one after another. */
export function stackedSlots(
  names: readonly string[],
  outputs: readonly number[],
  inputs: number,
  dtype: DType,
  bias = true,
): { weight: Slot; bias?: Slot } {
  const of = (kind: string): string[] => names.map((name) => `${name}.${kind}`);
  return {
    weight: new Slot(
      of('weight'),
      outputs.map((rows) => [rows, inputs]),
      dtype,
    ),
    ...(bias && {
      bias: new Slot(
        of('bias'),
        outputs.map((rows) => [rows]),
        'float32',
      ),
    }),
  };
}

/** `name.weight` and, unless told otherwise, `name.bias` of a norm. */
export function normSlots(name: string, size: number, bias = true): { weight: Slot; bias?: Slot } {
  return {
    weight: vector(`${name}.weight`, size),
    ...(bias && { bias: vector(`${name}.bias`, size) }),
  };
}

/** What a checkpoint must hold for a blueprint. */
export function weightSpec(blueprint: unknown): Record<string, WeightSpec> {
  if (blueprint instanceof Slot) {
    return Object.fromEntries(
      blueprint.names.map((name, i) => [name, { shape: blueprint.shapes[i]!, dtype: blueprint.dtype }]),
    );
  }
  if (typeof blueprint !== 'object' || blueprint === null) return {};
  return Object.assign({}, ...Object.values(blueprint).map(weightSpec)) as Record<string, WeightSpec>;
}

/** The weights of a blueprint out of what was loaded for its {@link weightSpec}. */
export function takeWeights<T>(blueprint: T, loaded: Map<string, Tensor>): Loaded<T> {
  if (blueprint instanceof Slot) {
    const { names, view } = blueprint;
    if (names.length > 1) return fuseWeights(loaded, names) as Loaded<T>;
    const weight = takeWeight(loaded, names[0]!);
    if (!view || view.length === weight.shape.length) return weight as Loaded<T>;
    const shaped = reshape(weight, [...view]);
    weight.dispose();
    return shaped as Loaded<T>;
  }
  if (Array.isArray(blueprint)) {
    return blueprint.map((entry: unknown) => takeWeights(entry, loaded)) as unknown as Loaded<T>;
  }
  const entries = Object.entries(blueprint as Record<string, unknown>);
  return Object.fromEntries(entries.map(([key, value]) => [key, takeWeights(value, loaded)])) as Loaded<T>;
}
