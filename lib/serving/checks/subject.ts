import { join } from 'node:path';
import { readJsonObject } from '../../hub/files.js';
import type { Engine } from '../contract.js';
import { configFile, DraftWeights } from '../draft-files.js';
import { MANIFEST_FILE, readManifest, type DraftManifest } from '../manifest.js';
import type { Json } from '../rope-json.js';
import { readTargetFacts, type TargetFacts } from '../target-facts.js';

/** What a check found. */
export interface Finding {
  ok: boolean;
  /** What was found; where it is wrong, also what the server would do with it. */
  message: string;
}

export interface Check {
  name: string;
  /** May throw where a file that it needs cannot be read: it counts as not passed. */
  run(subject: Subject): Finding;
}

export const ok = (message: string): Finding => ({ ok: true, message });
export const wrong = (message: string): Finding => ({ ok: false, message });

/** A value as it stands in a JSON file. */
export const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

/** Reads once; gives the same value, or throws the same error, every time. */
function once<T>(read: () => T): () => T {
  let result: { value: T } | { error: unknown } | undefined;
  return () => {
    if (!result) {
      try {
        result = { value: read() };
      } catch (error) {
        result = { error };
      }
    }
    if ('error' in result) throw result.error;
    return result.value;
  };
}

/** A draft directory and the target it is checked against. Each part throws, when it is asked for, if it is broken. */
export class Subject {
  /** config.json */
  readonly config: () => Json;
  readonly weights: () => DraftWeights;
  /** eyas.json */
  readonly manifest: () => DraftManifest;
  readonly target: () => TargetFacts;

  constructor(
    readonly draftDir: string,
    readonly targetDir: string,
    private readonly engine: Engine | undefined,
  ) {
    this.config = once(() => readJsonObject(configFile(draftDir)));
    this.weights = once(() => new DraftWeights(draftDir));
    this.manifest = once(() => readManifest(join(draftDir, MANIFEST_FILE)));
    this.target = once(() => readTargetFacts(targetDir));
  }

  /** Engines that it must fit: the one asked for, the one it was trained for, or both where neither is known. */
  engines(): Engine[] {
    if (this.engine) return [this.engine];
    try {
      return [this.manifest().contract.engine];
    } catch {
      return ['sglang', 'vllm'];
    }
  }

  serves(engine: Engine): boolean {
    return this.engines().includes(engine);
  }
}
