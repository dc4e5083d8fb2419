import { openCheckpoint } from '../../hub/safetensors.js';
import { loadWeights } from '../../hub/weights.js';
import { scope } from '../../tensor.js';
import type { DecoderConfig } from '../decoder/config.js';
import { DecoderTarget } from '../decoder/decoder-target.js';
import { Decoder } from '../decoder/decoder.js';
import { decoderForm, decoderWeightSpec, takeDecoderWeights } from '../decoder/weights.js';
import type { LoadTargetOptions } from '../target.js';

/** Buffers that older checkpoints hold; they follow from the config. */
const buffers = /rotary_emb\.inv_freq$/;

/** @throws Error for weights that are not those of the config, naming what is wrong */
export function loadTextTarget(
  modelDir: string,
  config: DecoderConfig,
  { dtype = 'float32' }: LoadTargetOptions = {},
): DecoderTarget {
  const checkpoint = openCheckpoint(modelDir);
  const form = decoderForm(config, checkpoint, ['model.']);
  const weights = scope(() => {
    const ignore = form.tieWordEmbeddings ? [buffers, 'lm_head.'] : [buffers];
    const loaded = loadWeights(checkpoint, decoderWeightSpec(config, form, dtype), { ignore });
    return takeDecoderWeights(loaded, config, form);
  });
  return new DecoderTarget(config, new Decoder(config, weights));
}
