// The eyas side of `prefill`, `preprocess`, `decode` and `end-to-end`.

import { join } from 'node:path';
import { parseRecord } from './record.mjs';
import { DraftDecoder } from '../../../dist/decoding/draft-decoder.js';
import { generateGreedy } from '../../../dist/decoding/generate.js';
import { generateSpeculative } from '../../../dist/decoding/speculative.js';
import { Eagle3Draft, eagle3Shapes } from '../../../dist/draft/eagle3.js';
import { loadDraft } from '../../../dist/draft/load.js';
import { DraftVocabulary } from '../../../dist/draft/vocabulary.js';
import { writeSafetensors } from '../../../dist/hub/safetensors-writer.js';
import { loadProcessor, loadTarget, readTargetInfo } from '../../../dist/models/registry.js';
import { cast, keep, narrow, ops, scope, tensor, toFloats } from '../../../dist/tensor.js';
import { Eagle3Trainer } from '../../../dist/training/trainer.js';
import { serve } from '../harness/serve.mjs';

let folder;
let processor;
let target;
let sample;
let loadedDraft;
let decoder;
let trainer;
let draftConfig;

async function timed(body) {
  const started = performance.now();
  const result = await body();
  return { seconds: (performance.now() - started) / 1000, ...result };
}

async function preprocess({ names }) {
  return timed(async () => {
    const parts = names.map((name) => ({ type: 'image', source: { path: join(folder, name) } }));
    const media = await Promise.all(parts.map((part) => processor.load(part)));
    return { pictures: media.length };
  });
}

async function read({ messages }) {
  sample = await processor.process(parseRecord(messages, folder));
  return { tokens: sample.inputIds.length, loss_mask: Array.from(sample.lossMask) };
}

const auxLayerIds = () => [2, target.info.numLayers >> 1, target.info.numLayers - 3];

function prefill() {
  return timed(() =>
    scope(() => {
      const { lastHiddenStates } = target.prefill([sample], { auxLayerIds: auxLayerIds() });
      return { sample: Array.from(toFloats(narrow(lastHiddenStates, 0, sample.inputIds.length - 1, 1))) };
    }),
  );
}

/** First weights of a draft for the target, for both sides. */
function makeDraft({ path, draft_vocab, intermediate }) {
  const { hiddenSize, vocabSize, numHeads, numKeyValueHeads, headDim, rmsNormEps } = target.info;
  draftConfig = {
    hiddenSize,
    intermediateSize: intermediate,
    numHeads: numHeads ?? hiddenSize / 64,
    numKeyValueHeads: numKeyValueHeads ?? 4,
    headDim: headDim ?? 64,
    rmsNormEps: rmsNormEps ?? 1e-6,
    vocabSize,
    draftVocabSize: draft_vocab,
    numAuxHiddenStates: 3,
    maxPositionEmbeddings: 32768,
    rotary: { theta: 1e6, headDim: headDim ?? 64, partialRotaryFactor: 1 },
    axes: 1,
  };
  const every = Math.floor(vocabSize / draft_vocab);
  const ids = Int32Array.from({ length: draft_vocab }, (_, i) => i * every);
  const weights = scope(() =>
    Object.fromEntries(
      Object.entries(eagle3Shapes(draftConfig)).map(([name, shape], i) => {
        const weight = cast(ops.randomNormal(shape, 0.02, BigInt(i + 1)), 'bfloat16');
        if (shape.length === 1) weight.fill(1);
        return [name, cast(weight, 'float32')];
      }),
    ),
  );
  scope(() => {
    const named = Object.entries(weights).map(([name, weight]) => [`draft.${name}`, weight]);
    writeSafetensors(path, { ...Object.fromEntries(named), draft_ids: tensor(ids, [ids.length]) });
  });
  keep(weights);
  return { weights, ids };
}

function loadTrainer({ path, dtype, steps, draft_vocab, intermediate }) {
  const { weights, ids } = makeDraft({ path, draft_vocab, intermediate });
  const draft = new Eagle3Draft(draftConfig, weights, { compute: dtype, trained: true });
  trainer = new Eagle3Trainer(target, draft, new DraftVocabulary(ids, draftConfig.vocabSize), {
    steps,
    decay: 0.8,
    mask: 'serving',
    outOfVocabulary: 'keep',
    normalization: 'tokens',
    gradClip: 0.5,
    optimizer: { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0 },
    contract: {
      engine: 'vllm',
      auxLayerIds: auxLayerIds(),
      multimodalEmbedding: 'placeholder',
      positions: 'index',
      deepstack: 'before',
      positionRule: 'engines',
    },
  });
  const { numHeads, numKeyValueHeads } = draftConfig;
  return { heads: numHeads, kv_heads: numKeyValueHeads, aux_layers: auxLayerIds() };
}

function train({ messages, lr }) {
  return timed(async () => {
    const record = await processor.process(parseRecord(messages, folder));
    const { loss, stepLoss, gradNorm } = trainer.step([[record]], lr);
    return { loss, step_loss: stepLoss, grad_norm: gradNorm };
  });
}

async function generate({ messages, max_new_tokens, chain_length }) {
  const prompt = await processor.process(parseRecord(messages, folder), { addGenerationPrompt: true });
  const options = { maxNewTokens: max_new_tokens, chainLength: chain_length };
  const result = chain_length
    ? generateSpeculative(target, decoder, loadedDraft.contract, prompt, options)
    : generateGreedy(target, prompt, options);
  const { ids, decodeSeconds, rounds = 0, acceptedByPosition = [] } = result;
  const accepted = acceptedByPosition.reduce((sum, count) => sum + count, 0);
  return { seconds: decodeSeconds, ids: Array.from(ids), rounds, accepted };
}

await serve({
  load({ folder: path, dtype, draft }) {
    folder = path;
    processor = loadProcessor(path);
    if (dtype) target = loadTarget(path, { dtype });
    if (!draft) return;
    loadedDraft = loadDraft(draft, { target: readTargetInfo(path) });
    const { config, weights, vocabulary } = loadedDraft;
    decoder = new DraftDecoder(config, weights, vocabulary, target.embedTokens);
  },
  preprocess,
  read,
  prefill,
  load_draft: loadTrainer,
  train,
  generate,
});
