// The eyas side of `prefill` at the size of a published text decoder: random weights, made where they are used.

import { Decoder } from '../../../dist/models/decoder/decoder.js';
import { readDecoderConfig } from '../../../dist/models/decoder/config.js';
import { packSamples } from '../../../dist/models/decoder/pack.js';
import { decoderWeightSpec, takeDecoderWeights } from '../../../dist/models/decoder/weights.js';
import { cast, keep, narrow, ops, scope, toFloats } from '../../../dist/tensor.js';
import { serve } from '../harness/serve.mjs';

let decoder;
let sample;
let auxLayerIds;

/** @param config fields of a config.json of Qwen2ForCausalLM */
function load({ config, tokens, dtype, aux_layers }) {
  const info = readDecoderConfig(
    config,
    { attentionBias: 'always', queryKeyNorm: false },
    {
      file: 'config.json',
      prefix: '',
      architecture: 'Qwen2ForCausalLM',
      modelType: 'qwen2',
      tieWordEmbeddings: false,
      stopTokenIds: [0],
    },
  );
  let seed = 1n;
  const weights = new Map();
  scope(() => {
    for (const [name, { shape, dtype: type }] of Object.entries(decoderWeightSpec(info, info.form, dtype))) {
      const weight = scope(() => cast(ops.randomNormal(shape, 0.02, seed++), type));
      if (name.endsWith('norm.weight')) weight.fill(1);
      weights.set(name, weight);
    }
    decoder = new Decoder(info, takeDecoderWeights(weights, info, info.form));
  });
  keep(weights);
  auxLayerIds = aux_layers;
  sample = {
    id: '0',
    inputIds: Int32Array.from({ length: tokens }, (_, t) => (t * 7919 + 1) % config.vocab_size),
    positionIds: Float32Array.from({ length: tokens }, (_, t) => t),
    axes: 1,
  };
}

/** Ends with the last state on the host, so all of the pass is done. */
function prefill() {
  const started = performance.now();
  return scope(() => {
    const { lastHiddenStates } = decoder.prefill(decoder.embed(sample.inputIds), packSamples([sample]), {
      auxLayerIds,
    });
    const last = toFloats(narrow(lastHiddenStates, 0, sample.inputIds.length - 1, 1));
    return { seconds: (performance.now() - started) / 1000, finite: last.every(Number.isFinite) };
  });
}

await serve({ load, prefill });
