import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';

/** A program of the ffmpeg suite; the environment variable, if set, is the path to use instead. */
export interface Tool {
  name: 'ffmpeg' | 'ffprobe';
  variable: 'EYAS_FFMPEG' | 'EYAS_FFPROBE';
}

export const ffmpeg: Tool = { name: 'ffmpeg', variable: 'EYAS_FFMPEG' };
export const ffprobe: Tool = { name: 'ffprobe', variable: 'EYAS_FFPROBE' };

/** Enough for the last lines of an error. */
const stderrKept = 4096;

/**
 * Runs a tool and hands its output over in pieces.
 *
 * @param onSecondOutput receives what the tool writes to `pipe:3`
 * @throws Error with the last line the tool wrote to stderr where it fails; where it is not installed, with the name of
 *   the Debian package
 */
export function runTool(
  tool: Tool,
  args: readonly string[],
  onOutput: (chunk: Buffer) => void,
  onSecondOutput?: (chunk: Buffer) => void,
): Promise<void> {
  const command = process.env[tool.variable] ?? tool.name;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe', onSecondOutput ? 'pipe' : 'ignore'],
    }) as ChildProcessByStdio<null, Readable, Readable>;
    let stderr = '';
    let failure: Error | undefined;
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-stderrKept);
    });
    child.stdout.on('data', (chunk: Buffer) => {
      if (failure) return;
      try {
        onOutput(chunk);
      } catch (error) {
        failure = error as Error;
        child.kill();
      }
    });
    if (onSecondOutput) (child.stdio[3] as Readable).on('data', onSecondOutput);
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'ENOENT'
          ? new Error(
              `${command} was not found: video and sound need ffmpeg (Debian package ffmpeg), or its path in ${tool.variable}`,
              { cause: error },
            )
          : error,
      );
    });
    child.on('close', (code, signal) => {
      if (failure) reject(failure);
      else if (code === 0) resolve();
      else
        reject(
          new Error(stderr.trim().split('\n').at(-1) || `${tool.name} ended with ${signal ?? String(code)}`),
        );
    });
  });
}
