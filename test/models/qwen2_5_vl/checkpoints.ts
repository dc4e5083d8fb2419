import { Qwen2_5VLTarget } from '../../../lib/models/qwen2_5_vl/target.js';
import type { LoadTargetOptions } from '../../../lib/models/target.js';
import { expectedCase as expectedOf, fixtureDirectory, type ExpectedCase } from '../qwen_vl/fixtures.js';

export { cases } from '../qwen_vl/fixtures.js';

/** Weights under run-time names, published, as transformers 5 saves. */
export const checkpoints = ['untied', 'published', 'tied'];

export const directory = (checkpoint: string): string => fixtureDirectory('qwen2_5_vl', checkpoint);

export const loadTarget = (checkpoint: string, options?: LoadTargetOptions): Qwen2_5VLTarget =>
  Qwen2_5VLTarget.load(directory(checkpoint), options);

export const expectedCase = (checkpoint: string, name: string): ExpectedCase =>
  expectedOf('qwen2_5_vl', checkpoint, name);
