import { exportDraft } from '../serving/export.js';
import { resolveCheckpoint } from '../training/checkpoint.js';
import type { JobOf } from '../worker/jobs.js';

export const run: JobOf<'export'> = (options) =>
  exportDraft({ ...options, checkpoint: resolveCheckpoint(options.checkpoint) });
