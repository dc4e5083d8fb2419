import { Command, CommanderError } from 'commander';
import { version } from '../version.js';
import { evalCommand } from './eval.js';
import { ExitCode, exitCodeOf, reportError } from './errors.js';
import { exportCommand } from './export.js';
import { featuresCommand } from './features.js';
import { generateCommand } from './generate.js';
import { infoCommand } from './info.js';
import { trainCommand } from './train.js';
import { verifyCommand } from './verify.js';

function makeProgram(): Command {
  const program = new Command('eyas')
    .description('Trains EAGLE-3 draft models for multimodal language models.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .addHelpText(
      'after',
      '\nEYAS_DEBUG=1 prints the stack of an error.\nRun `eyas COMMAND --help` for an example.',
    );
  const commands = [
    trainCommand,
    evalCommand,
    exportCommand,
    verifyCommand,
    featuresCommand,
    generateCommand,
    infoCommand,
  ];
  for (const make of commands) {
    const command = make().helpOption('-h, --help', 'print this help');
    program.addCommand(command);
  }
  for (const command of [program, ...program.commands]) {
    // Errors are printed in one place, and only that place ends the process.
    command.exitOverride().configureOutput({ outputError: () => undefined });
  }
  return program;
}

/**
 * Runs the command `eyas`.
 * @returns exit code: 0 ok, 1 failure, 2 usage, 130 after Ctrl-C, 143 after SIGTERM
 */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  try {
    await makeProgram().parseAsync([...args], { from: 'user' });
    return Number(process.exitCode ?? ExitCode.ok);
  } catch (error) {
    if (error instanceof CommanderError && (error.exitCode === 0 || error.code === 'commander.help')) {
      return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    }
    reportError(error);
    return exitCodeOf(error);
  }
}
