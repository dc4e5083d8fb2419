import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readRecords } from '../data/records.js';
import { SampleStore } from '../data/sample-store.js';
import { writeFileAtomic } from '../hub/files.js';
import { resolveModel } from '../hub/resolve.js';
import { writeSafetensors } from '../hub/safetensors-writer.js';
import { loadProcessor, loadTarget } from '../models/registry.js';
import type { PrefillResult, Sample, Target } from '../models/target.js';
import { hasDefaultAuxLayers, resolveContract, type ServingOptions } from '../serving/contract.js';
import { cast, scope, tensor, type DType, type Tensor } from '../tensor.js';
import { version } from '../version.js';
import type { FeaturesOptions, JobOf } from '../worker/jobs.js';
import { prepareCompute } from './compute.js';
import { warnOfSkipped } from './skipped.js';

/** One safetensors file a record, and `features.json`, which says what they were made with. */
export const run: JobOf<'features'> = async (options, context) => {
  prepareCompute(options, context);
  const targetDir = resolveModel(options.model);
  const serving = options.serving ?? { engine: 'sglang' };
  const processor = loadProcessor(targetDir, {
    positionRule: serving.positionRule ?? 'engines',
    useAudioInVideo: options.useAudioInVideo,
  });
  const { records, bad } = await readRecords(options.data, options);
  const store = await SampleStore.build(records, processor, {
    maxLength: options.maxLength ?? Infinity,
    onBadRecord: options.onBadRecord ?? 'fail',
    keepUnsupervised: true,
    stopRequested: () => context.stopRequested(),
  });
  warnOfSkipped([...bad, ...store.dropped.bad], context);
  context.throwIfStopped();
  const target = loadTarget(targetDir, { dtype: 'float32' });
  try {
    const contract = resolveContract(withAuxLayers(serving, options, target), target.info);
    const dtype = options.dtype ?? 'float32';
    mkdirSync(options.out, { recursive: true });
    let tokens = 0;
    let bytes = 0;
    for (let index = 0; index < store.size; index++) {
      context.throwIfStopped();
      const sample = await store.get(index);
      const file = join(options.out, `${sample.id}.safetensors`);
      scope(() => {
        const states = target.prefill([sample], { ...contract, allLayers: options.layers === 'all' });
        writeSafetensors(file, {
          ...featureTensors(sample, states, dtype),
          ...(options.logits && { logits: cast(target.logits(states.lastHiddenStates), dtype) }),
          ...(options.mediaFeatures && mediaTensors(sample)),
        });
      });
      tokens += sample.inputIds.length;
      bytes += statSync(file).size;
      context.emit({ type: 'count', phase: 'features', done: index + 1, total: store.size });
    }
    const description = {
      eyas: version,
      model: options.model,
      architecture: target.info.architecture,
      contract,
      dtype,
    };
    writeFileAtomic(join(options.out, 'features.json'), `${JSON.stringify(description, null, 2)}\n`);
    return {
      out: options.out,
      files: store.size,
      tokens,
      bytes,
      records: {
        used: store.size,
        skipped: { tooLong: store.dropped.tooLong, bad: bad.length + store.dropped.bad.length },
      },
    };
  } finally {
    target.dispose();
  }
};

/** Targets of few layers have no default aux layers: their features are all layers, or those that the user names. */
function withAuxLayers(
  serving: ServingOptions,
  { layers }: FeaturesOptions,
  { info }: Target,
): ServingOptions {
  const none = layers === 'all' && !serving.auxLayerIds && !hasDefaultAuxLayers(info.numLayers);
  return none ? { ...serving, auxLayerIds: [] } : serving;
}

function featureTensors(sample: Sample, states: PrefillResult, dtype: DType): Record<string, Tensor> {
  const length = sample.inputIds.length;
  const int64 = (values: ArrayLike<number>, shape: number[]) =>
    tensor(BigInt64Array.from(Array.from(values, BigInt)), shape);
  const whole = sample.positionIds.every(Number.isInteger);
  const positionShape = [sample.axes, length];
  return {
    input_ids: int64(sample.inputIds, [length]),
    loss_mask: tensor(sample.lossMask, [length]),
    position_ids: whole
      ? int64(sample.positionIds, positionShape)
      : tensor(sample.positionIds, positionShape),
    ...(states.auxHiddenStates.size > 0 && { aux_hidden_states: cast(states.auxHiddenStates, dtype) }),
    last_hidden_states: cast(states.lastHiddenStates, dtype),
    ...(states.hiddenStates && { hidden_states: cast(states.hiddenStates, dtype) }),
  };
}

/** `media.<i>.<field>` of every number and list of numbers that a processor gives for a medium; lists are flat. */
function mediaTensors({ media }: Sample): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  media.forEach((feature, i) => {
    for (const [field, value] of Object.entries(feature)) {
      const list = typeof value === 'number' ? [value] : value;
      const numbers = Array.isArray(list) && list.every((entry) => typeof entry === 'number');
      const data = numbers ? Float32Array.from(list) : list;
      if (data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array) {
        tensors[`media.${i}.${field}`] = tensor(data, [data.length]);
      }
    }
  });
  return tensors;
}
