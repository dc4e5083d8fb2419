import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './dist.js';

export interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** File of the command `eyas`; call `buildDist` first. */
export const commandFile = join(root, 'dist', 'cli', 'main.js');

/** Runs the command as a user would, without a terminal. */
export function eyas(args: readonly string[], env: Record<string, string> = {}): CommandResult {
  const { status, stdout, stderr } = spawnSync(process.execPath, [commandFile, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  });
  return { code: status, stdout, stderr };
}
