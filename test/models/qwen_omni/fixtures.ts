import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readRecords } from '../../../lib/data/records.js';
import { openSafetensors } from '../../../lib/hub/safetensors.js';
import type { ConversationRecord } from '../../../lib/models/target.js';
import { cast, scope, toFloats } from '../../../lib/tensor.js';

export type OmniFamily = 'qwen3_omni' | 'qwen2_5_omni';

/** Made by scripts/fixtures/omni.py. */
export const layouts = ['thinker', 'whole'] as const;
export const recordIds = ['text', 'sounds', 'short', 'clip', 'heard', 'mixed'] as const;

/** Rows of hidden states that are kept: 0, step, 2·step … */
export const step = 17;

export const fixture = (family: OmniFamily, name: string): string =>
  fileURLToPath(new URL(`../../fixtures/${family}/${name}`, import.meta.url));

const tokenizerFiles = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'];

/** A copy of a checkpoint with the tokenizer that all share, in a directory that is removed afterwards. */
export function copyModel(family: OmniFamily, layout: string): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'eyas-omni-'));
  for (const name of readdirSync(fixture(family, layout))) {
    if (name !== 'expected.safetensors') copyFileSync(join(fixture(family, layout), name), join(path, name));
  }
  for (const name of tokenizerFiles) copyFileSync(join(fixture(family, 'shared'), name), join(path, name));
  return {
    path,
    remove: () => {
      rmSync(path, { recursive: true });
    },
  };
}

export async function readOmniRecords(family: OmniFamily): Promise<Map<string, ConversationRecord>> {
  const { records } = await readRecords([join(fixture(family, 'shared'), 'records.jsonl')]);
  return new Map(records.map((record) => [record.id, record]));
}

export interface Expected {
  inputIds: number[];
  /** [3, T] */
  positionIds: Float32Array;
  /** [L + 1, T', H], with the visual features that a layer adds */
  hiddenStates: Float32Array;
  /** [T', H] */
  lastHiddenStates: Float32Array;
  /** [2, V]: the last two rows. */
  logits: Float32Array;
}

export function readExpected(family: OmniFamily, layout: string, id: string): Expected {
  const file = openSafetensors(join(fixture(family, layout), 'expected.safetensors'));
  const floats = (name: string): Float32Array => scope(() => toFloats(cast(file.load(`${id}.${name}`), 'float32')));
  return {
    inputIds: scope(() => Array.from(file.load(`${id}.input_ids`).toTypedArray(), Number)),
    positionIds: floats('position_ids'),
    hiddenStates: floats('hidden_states'),
    lastHiddenStates: floats('last_hidden_states'),
    logits: floats('logits'),
  };
}
