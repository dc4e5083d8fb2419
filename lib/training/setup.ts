import { createHash } from 'node:crypto';
import { readRecords } from '../data/records.js';
import type { DeviceName } from '../device-name.js';
import { SampleStore, type DropReport } from '../data/sample-store.js';
import { Eagle3Draft, initialWeights, type Eagle3Config } from '../draft/eagle3.js';
import { TokenCounter, type DraftVocabulary } from '../draft/vocabulary.js';
import { resolveModel } from '../hub/resolve.js';
import { loadProcessor, loadTarget } from '../models/registry.js';
import type { ConversationRecord, Processor, Target, TargetInfo } from '../models/target.js';
import { resolveContract, type ServingContract } from '../serving/contract.js';
import { prepareCompute } from '../jobs/compute.js';
import { warnOfSkipped } from '../jobs/skipped.js';
import type { JobContext } from '../worker/job.js';
import type { JobEvent } from '../worker/jobs.js';
import type { TrainConfig } from './config.js';
import { permutation } from './random.js';
import { Eagle3Trainer } from './trainer.js';

/** Everything a run needs, made from its config. */
export interface TrainingSetup {
  targetDir: string;
  target: Target;
  processor: Processor;
  train: SampleStore;
  evaluation: SampleStore | undefined;
  vocabulary: DraftVocabulary;
  contract: ServingContract;
  draft: Eagle3Draft;
  trainer: Eagle3Trainer;
  /** Of the training records and the draft vocabulary. */
  dataFingerprint: string;
  dispose(): void;
}

const HOLD_OUT_STREAM = -1;

/** Loads the target, reads and processes the records, builds vocabulary and draft. */
export async function setUpTraining(
  config: TrainConfig,
  context: JobContext<JobEvent>,
): Promise<TrainingSetup> {
  prepareCompute({ ...config.training, device: config.training.device as DeviceName }, context);
  const targetDir = resolveModel(config.model);
  const processor = loadProcessor(targetDir, {
    ...config.media,
    positionRule: config.serving.positionRule,
  });
  const records = await readData(config, context);
  const target = loadTarget(targetDir, { dtype: config.training.targetDtype });
  try {
    const { info } = target;
    const counter = new TokenCounter(info.vocabSize);
    const train = await process('training records', records.train, processor, config, context, (sample) => {
      counter.add(sample.inputIds, sample.lossMask);
    });
    train.dropped.bad.unshift(...records.bad);
    if (train.size === 0 && !context.stopRequested()) {
      throw new Error(
        `data.train: expected at least one usable record, received none (${describeDrops(train.dropped)})`,
      );
    }
    const evaluation =
      records.evaluation.length > 0
        ? await process('held-out records', records.evaluation, processor, config, context)
        : undefined;
    const { vocabulary, coverage } = counter.select(
      Math.min(config.draft.vocabSize, info.vocabSize),
      requiredIds(info),
    );
    context.emit({
      type: 'log',
      level: 'info',
      message: `draft vocabulary: ${vocabulary.size} of ${info.vocabSize} ids, ${(100 * coverage).toFixed(2)}% of supervised tokens`,
    });
    const contract = resolveContract({ ...config.serving, auxLayerIds: config.draft.auxLayerIds }, info);
    const draft = newDraft(config, target, vocabulary, contract);
    const trainer = new Eagle3Trainer(target, draft, vocabulary, {
      ...config.ttt,
      contract,
      gradClip: config.optimizer.gradClip,
      optimizer: config.optimizer,
    });
    const dataFingerprint = createHash('sha256')
      .update(train.fingerprint())
      .update(vocabulary.targetIds)
      .digest('hex');
    const dispose = () => {
      trainer.dispose();
      draft.dispose();
      target.dispose();
    };
    return {
      targetDir,
      target,
      processor,
      train,
      evaluation,
      vocabulary,
      contract,
      draft,
      trainer,
      dataFingerprint,
      dispose,
    };
  } catch (error) {
    target.dispose();
    throw error;
  }
}

/** Shape of the draft: the target's decoder layer where the config does not say otherwise. */
export function draftConfig(
  config: TrainConfig['draft'],
  info: TargetInfo,
  vocabulary: DraftVocabulary,
  contract: ServingContract,
): Eagle3Config {
  return {
    // The target's, whose embedding the draft shares.
    hiddenSize: info.hiddenSize,
    intermediateSize: config.intermediateSize ?? info.intermediateSize,
    numHeads: config.numHeads ?? info.numHeads,
    numKeyValueHeads: config.numKeyValueHeads ?? info.numKeyValueHeads,
    headDim: config.headDim ?? info.headDim,
    rmsNormEps: info.rmsNormEps,
    vocabSize: info.vocabSize,
    draftVocabSize: vocabulary.size,
    numAuxHiddenStates: contract.auxLayerIds.length,
    maxPositionEmbeddings: info.maxPositionEmbeddings,
    rotary: { ...info.rotary, headDim: config.headDim ?? info.headDim },
    axes: contract.positions === 'mrope' ? 3 : 1,
  };
}

function newDraft(
  config: TrainConfig,
  target: Target,
  vocabulary: DraftVocabulary,
  contract: ServingContract,
): Eagle3Draft {
  const shape = draftConfig(config.draft, target.info, vocabulary, contract);
  const { initLmHead, initNorm, initStd } = config.draft;
  const weights = initialWeights(
    shape,
    {
      seed: config.training.seed,
      std: initStd,
      ...(initLmHead === 'target' && { lmHead: target.lmHead }),
      ...(initNorm === 'target' && { finalNorm: target.finalNorm }),
    },
    vocabulary,
  );
  return new Eagle3Draft(shape, weights, { compute: config.training.dtype, trained: true });
}

/** Ids that every draft vocabulary holds: end of turn and end of text. */
function requiredIds(info: TargetInfo): number[] {
  return [...new Set(info.eosTokenIds)];
}

async function readData(
  config: TrainConfig,
  context: JobContext<JobEvent>,
): Promise<{
  train: ConversationRecord[];
  evaluation: ConversationRecord[];
  /** Lines of the training files that could not be read. */
  bad: DropReport['bad'];
}> {
  const { data, training } = config;
  const read = async (files: readonly string[]) => {
    const { records, bad } = await readRecords(files, data);
    warnOfSkipped(bad, context);
    return { records, bad };
  };
  const { records: all, bad } = await read(data.train);
  if (data.eval.length > 0) return { train: all, evaluation: (await read(data.eval)).records, bad };
  const held = data.evalCount ?? Math.round((data.evalFraction ?? 0) * all.length);
  if (held === 0) return { train: all, evaluation: [], bad };
  const chosen = new Set(permutation(all.length, training.seed, HOLD_OUT_STREAM).subarray(0, held));
  return {
    train: all.filter((_, i) => !chosen.has(i)),
    evaluation: all.filter((_, i) => chosen.has(i)),
    bad,
  };
}

async function process(
  phase: string,
  records: readonly ConversationRecord[],
  processor: Processor,
  config: TrainConfig,
  context: JobContext<JobEvent>,
  visit?: Parameters<typeof SampleStore.build>[3],
): Promise<SampleStore> {
  const store = await SampleStore.build(
    records,
    processor,
    {
      maxLength: config.data.maxLength,
      cacheBytes: config.data.cacheBytes,
      onBadRecord: config.data.onBadRecord,
      onProgress: (done, total) => {
        context.emit({ type: 'count', phase, done, total });
      },
      stopRequested: () => context.stopRequested(),
    },
    visit,
  );
  warnOfSkipped(store.dropped.bad, context);
  context.emit({
    type: 'log',
    level: 'info',
    message: `${phase}: ${store.size} used, ${describeDrops(store.dropped)}`,
  });
  return store;
}

/** `2 too long, 1 without an answer, 0 bad` */
export function describeDrops(dropped: DropReport): string {
  return `${dropped.tooLong} too long, ${dropped.unsupervised} without an answer, ${dropped.bad.length} bad`;
}
