import { join } from 'node:path';
import { run as evaluate } from '../../lib/jobs/evaluate.js';
import { run as exportDraft } from '../../lib/jobs/export.js';
import { run as train } from '../../lib/jobs/train.js';
import { verifyDraft, type VerifyReport } from '../../lib/serving/verify.js';
import { parseConfig, type TrainConfigInput } from '../../lib/training/config.js';
import type { EvaluateResult } from '../../lib/worker/jobs.js';

const context = {
  emit: () => undefined,
  stopRequested: () => false,
  throwIfStopped: () => undefined,
  signal: new AbortController().signal,
};

/**
 * What every user does with a target, on this thread: trains a draft for a few steps, exports it, verifies it, and
 * decodes some of the records with it.
 *
 * @param data conversations, to train on and to decode
 * @param output empty directory
 */
export async function trainAndEvaluate(
  model: string,
  data: string,
  output: string,
  config: Partial<TrainConfigInput> = {},
): Promise<{ evaluation: EvaluateResult; verification: VerifyReport }> {
  const trained = await train(
    parseConfig({
      model,
      output: join(output, 'run'),
      data: { train: [data] },
      draft: { vocabSize: 64 },
      ttt: { steps: 3 },
      training: { maxSteps: 3, batchTokens: 1024 },
      ...config,
    }),
    context,
  );
  const draft = join(output, 'draft');
  await exportDraft({ checkpoint: trained.latestCheckpoint, model, out: draft }, context);
  const verification = await verifyDraft({ draft, target: model });
  const options = { model, draft, data: [data], chainLength: 3, maxNewTokens: 12, maxRecords: 6 };
  return { evaluation: await evaluate(options, context), verification };
}
