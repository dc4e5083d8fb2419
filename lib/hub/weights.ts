import { scope, type DType, type Tensor } from '../tensor.js';
import type { Checkpoint } from './safetensors.js';
import { LOADABLE } from './safetensors-header.js';

/** A weight that a model has: its shape, or more about it. */
export type WeightSpec = readonly number[] | { shape: readonly number[]; dtype?: DType; optional?: boolean };

export interface LoadWeightsOptions {
  /** Prefixes of published names and what replaces them; the first that fits is taken, once. */
  rename?: readonly (readonly [prefix: string, replacement: string])[];
  /** Published names that are left alone: prefixes, or patterns. */
  ignore?: readonly (string | RegExp)[];
  /** Element type in memory of weights whose spec has none; the file's if absent. */
  dtype?: DType;
}

/** Names of each kind that a message lists. */
const LISTED = 40;

function section(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  const rest = lines.length > LISTED ? [`    … and ${lines.length - LISTED} more`] : [];
  return [`  ${title} (${lines.length}):`, ...lines.slice(0, LISTED).map((line) => `    ${line}`), ...rest];
}

function isIgnored(name: string, ignore: readonly (string | RegExp)[]): boolean {
  return ignore.some((entry) => (typeof entry === 'string' ? name.startsWith(entry) : entry.test(name)));
}

function canonicalName(name: string, rename: NonNullable<LoadWeightsOptions['rename']>): string {
  const rule = rename.find(([prefix]) => name.startsWith(prefix));
  return rule ? rule[1] + name.slice(rule[0].length) : name;
}

const shapeText = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/**
 * Loads the weights that `spec` names, after checking that the checkpoint holds exactly those: nothing is read before
 * everything fits. The tensors belong to the current scope.
 *
 * @param spec canonical name → shape
 * @returns canonical name → tensor; optional weights that are absent are left out
 * @throws one error that lists by name what is missing, unexpected, mis-shaped, of a type that cannot be loaded, or
 *   there under two published names
 */
export function loadWeights(
  checkpoint: Checkpoint,
  spec: Readonly<Record<string, WeightSpec>>,
  options: LoadWeightsOptions = {},
): Map<string, Tensor> {
  const { rename = [], ignore = [], dtype } = options;
  const published = new Map<string, string>();
  const twice: string[] = [];
  const unexpected: string[] = [];
  for (const name of checkpoint.names()) {
    if (isIgnored(name, ignore)) continue;
    const canonical = canonicalName(name, rename);
    const other = published.get(canonical);
    if (!Object.hasOwn(spec, canonical)) unexpected.push(`${name} ${shapeText(checkpoint.info(name).shape)}`);
    else if (other !== undefined) twice.push(`${canonical}: ${other} and ${name}`);
    else published.set(canonical, name);
  }

  const missing: string[] = [];
  const misshaped: string[] = [];
  const unloadable: string[] = [];
  const plan: { canonical: string; name: string; dtype: DType | undefined }[] = [];
  for (const [canonical, entry] of Object.entries(spec)) {
    const wanted = 'shape' in entry ? entry : { shape: entry };
    const name = published.get(canonical);
    if (name === undefined) {
      if (!wanted.optional) missing.push(`${canonical} ${shapeText(wanted.shape)}`);
      continue;
    }
    const info = checkpoint.info(name);
    if (shapeText(info.shape) !== shapeText(wanted.shape)) {
      misshaped.push(`${name}: expected ${shapeText(wanted.shape)}, received ${shapeText(info.shape)}`);
    }
    if (!LOADABLE[info.dtype]) unloadable.push(`${name}: ${info.dtype}`);
    plan.push({ canonical, name, dtype: wanted.dtype ?? dtype });
  }

  const problems = [
    ...section('missing', missing),
    ...section('unexpected', unexpected),
    ...section('mis-shaped', misshaped),
    ...section('of a type that cannot be loaded', unloadable),
    ...section('under two names', twice),
  ];
  if (problems.length > 0) {
    throw new Error([`${checkpoint.source}: the weights do not fit the model`, ...problems].join('\n'));
  }
  return scope(() => new Map(plan.map((item) => [item.canonical, checkpoint.load(item.name, item.dtype)])));
}
