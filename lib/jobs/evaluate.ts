import { readRecords } from '../data/records.js';
import { Evaluator } from '../decoding/evaluator.js';
import { loadDraft } from '../draft/load.js';
import { resolveModel } from '../hub/resolve.js';
import { loadProcessor, loadTarget, readTargetInfo } from '../models/registry.js';
import type { JobOf } from '../worker/jobs.js';
import { prepareCompute } from './compute.js';
import { warnOfSkipped } from './skipped.js';

export const run: JobOf<'evaluate'> = async (options, context) => {
  prepareCompute(options, context);
  const targetDir = resolveModel(options.model);
  const draft = loadDraft(options.draft, { target: readTargetInfo(targetDir) });
  const processor = loadProcessor(targetDir, { positionRule: draft.contract.positionRule });
  const { records, bad } = await readRecords(options.data, options);
  warnOfSkipped(bad, context);
  const target = loadTarget(targetDir, { dtype: options.dtype ?? 'float32' });
  try {
    const evaluator = new Evaluator(target, processor, draft, {
      chainLength: options.chainLength ?? 5,
      maxNewTokens: options.maxNewTokens ?? 256,
    });
    try {
      const used = records.slice(0, options.maxRecords);
      const result = await evaluator.run(used, context);
      return { ...result, counts: { used: used.length, skipped: { bad: bad.length } } };
    } finally {
      evaluator.dispose();
    }
  } finally {
    target.dispose();
  }
};
