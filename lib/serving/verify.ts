import { setImmediate } from 'node:timers/promises';
import { resolveModel } from '../hub/resolve.js';
import { architectureChecks } from './checks/architecture.js';
import { auxLayerChecks } from './checks/aux-layers.js';
import { contractChecks } from './checks/contract.js';
import { fileChecks } from './checks/files.js';
import { positionChecks } from './checks/positions.js';
import { Subject, wrong, type Check, type Finding } from './checks/subject.js';
import { tensorChecks } from './checks/tensors.js';
import { vocabularyChecks } from './checks/vocabulary.js';
import type { Engine } from './contract.js';

export interface VerifyOptions {
  /** Draft directory. */
  draft: string;
  /** Target: a checkpoint directory, or a hub id in the local cache. */
  target: string;
  /** Server that it is to run on; if absent the one it was trained for, and both where nothing says which. */
  engine?: Engine;
}

export interface VerifyCheck {
  name: string;
  ok: boolean;
  /** What was found; where it is wrong, also what the server would do with it. */
  message: string;
}

export interface VerifyReport {
  /** Whether every check passed. */
  ok: boolean;
  checks: VerifyCheck[];
}

/** All checks, in the order in which they are reported. */
export const checks: readonly Check[] = [
  ...fileChecks,
  ...architectureChecks,
  ...vocabularyChecks,
  ...tensorChecks,
  ...positionChecks,
  ...auxLayerChecks,
  ...contractChecks,
];

function run(check: Check, subject: Subject): Finding {
  try {
    return check.run(subject);
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n');
    return wrong(`not checked: ${reason!}`);
  }
}

/** A target that is not there becomes failed checks, like every other missing file. */
function targetDirectory(target: string): string {
  try {
    return resolveModel(target);
  } catch {
    return target;
  }
}

/**
 * Checks every field of a draft directory that engines are known to trip over against the target that it is to serve.
 * Broken and missing files become failed checks; nothing throws. Between checks the event loop is free.
 */
export async function verifyDraft(options: VerifyOptions): Promise<VerifyReport> {
  const subject = new Subject(options.draft, targetDirectory(options.target), options.engine);
  const results: VerifyCheck[] = [];
  for (const check of checks) {
    results.push({ name: check.name, ...run(check, subject) });
    await setImmediate();
  }
  return { ok: results.every((check) => check.ok), checks: results };
}
