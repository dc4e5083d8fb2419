import { isObject } from '../hub/files.js';
import { isDefaultAuxLayers } from './contract.js';
import type { Json } from './rope-json.js';

/** Targets whose SGLang model does not simply add one to the nested ids. */
const irregularInSglang = new Set(['DeepseekV2ForCausalLM', 'DeepseekV3ForCausalLM', 'GptOssForCausalLM']);

/** Whether SGLang numbers a target's nested ids by the common rule. */
export function hasRegularLayerIds(architecture: string): boolean {
  return !irregularInSglang.has(architecture);
}

/** The ids of a config, as far as it names any. */
export interface AuxLayerKeys {
  /** Read by vLLM: boundary ids. */
  topLevel?: unknown;
  /** Read by SGLang, which adds one. vLLM's V1 runner falls back to them and does not. */
  nested?: unknown;
}

export const AUX_LAYER_KEY = 'eagle_aux_hidden_state_layer_ids';

export function readAuxLayers(config: Json): AuxLayerKeys {
  const nested = isObject(config['eagle_config']) ? config['eagle_config'][AUX_LAYER_KEY] : undefined;
  return {
    ...(config[AUX_LAYER_KEY] != null && { topLevel: config[AUX_LAYER_KEY] }),
    ...(nested != null && { nested }),
  };
}

/**
 * Keys of a draft's config.json for its aux layers: none where both engines choose the same by themselves, else both
 * conventions, since each engine reads only its own.
 *
 * @param ids boundary ids, ascending
 * @throws Error for a target whose numbering in SGLang is irregular
 */
export function auxLayersJson(
  ids: readonly number[],
  target: { architecture: string; numLayers: number },
): Json {
  if (isDefaultAuxLayers(ids, target.numLayers)) return {};
  if (!hasRegularLayerIds(target.architecture)) {
    throw new Error(
      `[export] aux layers: expected the default ids for ${target.architecture}, which SGLang numbers by its own rule, ` +
        `received [${ids.join(', ')}]`,
    );
  }
  return {
    [AUX_LAYER_KEY]: [...ids],
    eagle_config: { use_aux_hidden_state: true, [AUX_LAYER_KEY]: ids.map((id) => id - 1) },
    num_aux_hidden_states: ids.length,
  };
}
