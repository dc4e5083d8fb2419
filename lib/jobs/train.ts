import { runTraining } from '../training/run.js';
import type { JobOf } from '../worker/jobs.js';

export const run: JobOf<'train'> = runTraining;
