import type { Checkpoint } from '../../hub/safetensors.js';
import { loadWeights } from '../../hub/weights.js';
import { scope, type DType } from '../../tensor.js';
import { takeWeights, weightSpec, type Loaded } from '../blueprint.js';
import type { DecoderConfig } from '../decoder/config.js';
import { decoderForm, decoderWeightSpec, takeDecoderWeights, type DecoderWeights } from '../decoder/weights.js';

/** Names of transformers 5 (and of published Qwen3-VL checkpoints) become those of older published ones. */
export const rename = [
  ['model.visual.', 'visual.'],
  ['model.language_model.', 'model.'],
] as const;

/**
 * Weights of a checkpoint under `visual.` and `model.`, or `model.visual.` and `model.language_model.`. Matrices are
 * `dtype`, norms and biases float32.
 *
 * @param vision blueprint of the tower, under `visual.`
 * @throws one error that lists missing, unexpected and mis-shaped weights by name
 */
export function loadQwenVLWeights<Blueprint>(
  checkpoint: Checkpoint,
  text: DecoderConfig,
  vision: Blueprint,
  dtype: DType,
): { decoder: DecoderWeights; vision: Loaded<Blueprint> } {
  const form = decoderForm(text, checkpoint, ['model.']);
  return scope(() => {
    const spec = { ...decoderWeightSpec(text, form, dtype), ...weightSpec(vision) };
    const ignore = form.tieWordEmbeddings ? ['lm_head.'] : [];
    const loaded = loadWeights(checkpoint, spec, { rename, ignore });
    return { decoder: takeDecoderWeights(loaded, text, form), vision: takeWeights(vision, loaded) };
  });
}
