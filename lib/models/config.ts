import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../hub/files.js';
import type { Activation } from '../native.js';

/** Atoms of config.json. */
export const count = z.int().positive();
export const tokenId = z.int().nonnegative();
export const tokenIds = z.union([tokenId.transform((id) => [id]), z.array(tokenId)]);
export const activation = z
  .enum(['silu', 'gelu', 'gelu_new', 'gelu_pytorch_tanh', 'quick_gelu'])
  .transform((name): Activation => {
    if (name === 'gelu_new' || name === 'gelu_pytorch_tanh') return 'gelu_tanh';
    return name;
  });

/** Parses a part of a model's file; an error names the file and the key. */
export function parsePart<T>(schema: z.ZodType<T>, value: unknown, file: string, prefix = ''): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `${file}: ${prefix}${issue.path.join('.')}: ${issue.message}`);
  throw new Error(lines.join('\n'));
}

/** Throws `file: key: reason` unless `holds`. */
export type Check = (holds: boolean, key: string, reason: string) => void;

export function checker(file: string, prefix = ''): Check {
  return (holds, key, reason) => {
    if (!holds) throw new Error(`${file}: ${prefix}${key}: ${reason}`);
  };
}

const generationSchema = z.object({ eos_token_id: tokenIds.nullish() });
const tokenizerConfigSchema = z.object({
  eos_token: z.union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)]).nullish(),
});
const tokenizerSchema = z.object({
  added_tokens: z.array(z.object({ id: tokenId, content: z.string() })).optional(),
});

/** Ids that end generation: those of generation_config.json, and the token that tokenizer_config.json ends turns with. */
export function stopTokens(modelDir: string): number[] {
  const ids: number[] = [];
  const generationFile = join(modelDir, 'generation_config.json');
  if (existsSync(generationFile)) {
    ids.push(...(parsePart(generationSchema, readJson(generationFile), generationFile).eos_token_id ?? []));
  }
  const configFile = join(modelDir, 'tokenizer_config.json');
  const tokenizerFile = join(modelDir, 'tokenizer.json');
  if (existsSync(configFile) && existsSync(tokenizerFile)) {
    const { eos_token: turnEnd } = parsePart(tokenizerConfigSchema, readJson(configFile), configFile);
    const { added_tokens: added } = parsePart(tokenizerSchema, readJson(tokenizerFile), tokenizerFile);
    const token = added?.find(({ content }) => content === turnEnd);
    if (token) ids.push(token.id);
  }
  return ids;
}

const addedTokensSchema = z.looseObject({
  added_tokens: z.array(z.object({ id: tokenId, content: z.string() })).optional(),
  added_tokens_decoder: z.record(z.string(), z.object({ content: z.string() })).optional(),
});

/**
 * Id of a token that the tokenizer's files add, for models whose config.json does not name it.
 *
 * @throws Error naming the directory and the token
 */
export function addedTokenId(modelDir: string, content: string): number {
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    const file = join(modelDir, name);
    if (!existsSync(file)) continue;
    const { added_tokens: added = [], added_tokens_decoder: decoder = {} } = parsePart(
      addedTokensSchema,
      readJson(file),
      file,
    );
    const listed = [...added, ...Object.entries(decoder).map(([id, token]) => ({ ...token, id: Number(id) }))];
    const token = listed.find((candidate) => candidate.content === content);
    if (token) return token.id;
  }
  throw new Error(`${modelDir}: expected tokenizer.json or tokenizer_config.json to add the token ${content}`);
}
