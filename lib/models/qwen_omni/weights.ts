import type { Checkpoint } from '../../hub/safetensors.js';
import { loadWeights } from '../../hub/weights.js';
import { scope, type DType } from '../../tensor.js';
import { takeWeights, weightSpec, type Loaded } from '../blueprint.js';
import type { DecoderConfig } from '../decoder/config.js';
import { decoderForm, decoderWeightSpec, takeDecoderWeights, type DecoderWeights } from '../decoder/weights.js';

/** What speaks in a whole model, and buffers that follow from the config: left alone. */
const ignored = [/^(talker|code2wav|token2wav)\./, /(^|\.)audio_tower\.(audio_bos_eos_token|positional_embedding)\./];

/**
 * Weights of a thinker, alone or in a whole model (`thinker.`). Matrices are `dtype`, norms and biases float32.
 *
 * @param towers blueprint of what is not the decoder, under `visual.` and `audio_tower.`
 * @throws one error that lists missing, unexpected and mis-shaped weights by name
 */
export function loadThinkerWeights<Blueprint>(
  checkpoint: Checkpoint,
  text: DecoderConfig,
  towers: Blueprint,
  dtype: DType,
): { decoder: DecoderWeights; towers: Loaded<Blueprint> } {
  const form = decoderForm(text, checkpoint, ['model.', 'thinker.model.']);
  return scope(() => {
    const spec = { ...decoderWeightSpec(text, form, dtype), ...weightSpec(towers) };
    const ignore = form.tieWordEmbeddings ? [...ignored, /^(thinker\.)?lm_head\./] : ignored;
    const loaded = loadWeights(checkpoint, spec, { rename: [['thinker.', '']], ignore });
    return { decoder: takeDecoderWeights(loaded, text, form), towers: takeWeights(towers, loaded) };
  });
}
