import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isObject, readJsonObject } from '../../hub/files.js';

/** Whether a post-processor of tokenizer.json puts a special token before a text. */
function startsWithSpecial(processor: unknown): boolean {
  if (!isObject(processor)) return false;
  const { processors, single } = processor;
  if (Array.isArray(processors)) return processors.some(startsWithSpecial);
  return Array.isArray(single) && isObject(single[0]) && 'SpecialToken' in single[0];
}

/**
 * Whether the tokenizer begins texts with bos_token: `add_bos_token` of tokenizer_config.json says, else the
 * post-processor of tokenizer.json.
 */
export function addsBos(modelDir: string): boolean {
  const read = (name: string): Record<string, unknown> => {
    const file = join(modelDir, name);
    return existsSync(file) ? readJsonObject(file) : {};
  };
  const told = read('tokenizer_config.json')['add_bos_token'];
  return typeof told === 'boolean' ? told : startsWithSpecial(read('tokenizer.json')['post_processor']);
}
