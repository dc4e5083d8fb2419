import { CommanderError } from 'commander';
import pc from 'picocolors';
import { ConfigError } from '../training/config-issues.js';

export const ExitCode = { ok: 0, failure: 1, usage: 2 } as const;

/** A command that was not written as it should be; what is wrong is not in the files it names. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export function exitCodeOf(error: unknown): number {
  const isUsage =
    error instanceof CommanderError || error instanceof UsageError || error instanceof ConfigError;
  return isUsage ? ExitCode.usage : ExitCode.failure;
}

/** Prints an error as `eyas: …`, with its stack if EYAS_DEBUG is set. */
export function reportError(error: unknown): void {
  const prefix = pc.createColors(process.stderr.isTTY).red('eyas:');
  process.stderr.write(`${prefix} ${messageOf(error)}\n`);
  if (process.env['EYAS_DEBUG'] && error instanceof Error) process.stderr.write(`${stackOf(error)}\n`);
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof CommanderError) return error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  const { code, path } = error as NodeJS.ErrnoException;
  if (path !== undefined && code === 'ENOENT') return `${path}: no such file or directory`;
  if (path !== undefined && code === 'EISDIR') return `${path}: expected a file, received a directory`;
  if (path !== undefined && code === 'EACCES') return `${path}: permission denied`;
  // A bare `undefined is not a function` would tell nobody where to look.
  const isBug = error instanceof TypeError || error instanceof ReferenceError;
  return isBug && !process.env['EYAS_DEBUG']
    ? `${error.message} (EYAS_DEBUG=1 prints the stack)`
    : error.message;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? ''}${cause}`;
}
