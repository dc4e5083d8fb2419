import { isObject } from '../hub/files.js';
import type { RotaryConfig } from '../models/target.js';
import type { ServingContract } from './contract.js';

/** A parsed JSON object. */
export type Json = Record<string, unknown>;

/** Rotary embedding as a config.json states it, in old or new keys. */
export interface RopeFacts {
  theta: number;
  /** Kind of scaling; `mrope` is the old name of `default` with sections. */
  type: string;
  mropeSection?: number[];
  mropeInterleaved: boolean;
  partialRotaryFactor: number;
  /** What the kind of scaling needs: factor, original_max_position_embeddings … */
  scaling: Json;
}

/** transformers' base where a config names none. */
const DEFAULT_THETA = 10_000;

const STRUCTURAL = new Set([
  'type',
  'rope_type',
  'rope_theta',
  'mrope_section',
  'mrope_interleaved',
  'interleaved',
  'partial_rotary_factor',
]);

/** The parameters of a scaling, without those that every rotary embedding has. */
function scalingParameters(rope: Json): Json {
  return Object.fromEntries(
    Object.entries(rope).filter(([key, value]) => !STRUCTURAL.has(key) && value != null),
  );
}

function scalingType(rope: Json): string {
  const type = rope['rope_type'] ?? rope['type'] ?? 'default';
  if (typeof type !== 'string') return JSON.stringify(type);
  return type === 'mrope' ? 'default' : type;
}

/** Reads `rope_parameters` (transformers 5), else `rope_scaling` and `rope_theta`. */
export function readRope(config: Json): RopeFacts {
  const rope = [config['rope_parameters'], config['rope_scaling']].find(isObject) ?? {};
  const number = (key: string, otherwise: number): number => {
    const value = rope[key] ?? config[key];
    return typeof value === 'number' ? value : otherwise;
  };
  const section = rope['mrope_section'];
  return {
    theta: number('rope_theta', DEFAULT_THETA),
    type: scalingType(rope),
    ...(Array.isArray(section) && { mropeSection: section as number[] }),
    mropeInterleaved: rope['mrope_interleaved'] === true,
    partialRotaryFactor: number('partial_rotary_factor', 1),
    scaling: scalingParameters(rope),
  };
}

/**
 * Keys of a draft's config.json. Sections are written where the contract has multimodal positions: they are what makes
 * SGLang rotate a draft by three axes. The old keys are read by every version of both engines.
 *
 * @throws Error where SGLang would rotate by other angles than those of training
 */
export function ropeJson(rotary: RotaryConfig, contract: ServingContract): Json {
  const { theta, partialRotaryFactor, mropeSection, mropeInterleaved = false } = rotary;
  const type = scalingType(rotary.scaling ?? {});
  const parameters = type === 'default' ? {} : scalingParameters(rotary.scaling ?? {});
  const multimodal = contract.positions === 'mrope';
  if (multimodal && type !== 'default' && contract.engine === 'sglang') {
    throw new Error(
      `[export] rope_scaling: SGLang takes a draft with mrope_section as unscaled, received scaling ${type}; ` +
        "train with serving.positions: 'index', or for vllm",
    );
  }
  const partial = partialRotaryFactor === 1 ? {} : { partial_rotary_factor: partialRotaryFactor };
  const sections = multimodal ? { mrope_section: mropeSection, mrope_interleaved: mropeInterleaved } : {};
  const scaled = multimodal || type !== 'default' || partialRotaryFactor !== 1;
  return {
    rope_theta: theta,
    // SGLang reads the share at the top level, vLLM in the rope's own object.
    ...partial,
    rope_scaling: scaled ? { rope_type: type, ...parameters, ...sections, ...partial } : null,
  };
}
