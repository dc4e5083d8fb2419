import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export interface ResolveOptions {
  /** Branch, tag or commit of a hub id; `main` if absent. */
  revision?: string;
  /** Where to look for cache directories; `process.env` if absent. */
  env?: Record<string, string | undefined>;
}

const HUB_ID = /^[\w.-]+(?:\/[\w.-]+)?$/;

function cacheDirectory(env: Record<string, string | undefined>): string {
  if (env['HF_HUB_CACHE']) return env['HF_HUB_CACHE'];
  if (env['HF_HOME']) return join(env['HF_HOME'], 'hub');
  if (env['XDG_CACHE_HOME']) return join(env['XDG_CACHE_HOME'], 'huggingface', 'hub');
  return join(homedir(), '.cache', 'huggingface', 'hub');
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * Directory of a model: a directory that holds config.json, or a hub id `org/name[@revision]` whose files are in the
 * local Hugging Face cache. Nothing is fetched.
 *
 * @throws if neither is there; the message says where it looked and which command fetches the model.
 */
export function resolveModel(idOrDirectory: string, options: ResolveOptions = {}): string {
  const directory = resolve(idOrDirectory);
  if (isDirectory(directory)) {
    if (existsSync(join(directory, 'config.json'))) return directory;
    throw new Error(`${directory} is not a model directory: it holds no config.json`);
  }
  const separator = idOrDirectory.indexOf('@');
  const id = separator < 0 ? idOrDirectory : idOrDirectory.slice(0, separator);
  const revision = separator < 0 ? (options.revision ?? 'main') : idOrDirectory.slice(separator + 1);
  if (!HUB_ID.test(id) || id.split('/').some((part) => /^\.+$/.test(part))) {
    throw new Error(
      `No model at ${directory}: there is no such directory, and ${idOrDirectory} is not a hub id`,
    );
  }
  if (!/^[\w./-]+$/.test(revision) || revision.split('/').some((part) => /^\.*$/.test(part))) {
    throw new Error(`Invalid revision ${JSON.stringify(revision)} of model ${id}`);
  }

  const repository = join(cacheDirectory(options.env ?? process.env), `models--${id.replace('/', '--')}`);
  const reference = join(repository, 'refs', revision);
  const commit = existsSync(reference) ? readFileSync(reference, 'utf8').trim() : revision;
  const snapshot = join(repository, 'snapshots', commit);
  if (existsSync(join(snapshot, 'config.json'))) return snapshot;
  const state = isDirectory(snapshot) ? 'holds no config.json' : 'does not exist';
  const flags = revision === 'main' ? '' : ` --revision ${revision}`;
  throw new Error(
    `Model ${idOrDirectory} was not found: ${directory} is not a directory, and ${snapshot} in the Hugging Face cache ${state}.\n` +
      `To fetch it: hf download ${id}${flags}`,
  );
}
