import { Command } from 'commander';
import pc from 'picocolors';
import { ExitCode } from './errors.js';

const help = `
Prints one line a check: ok, or what is wrong and what a server would do with it. Exit code 1 if anything is wrong.

Example:
  $ eyas verify draft --target Qwen/Qwen2.5-VL-7B-Instruct
`;

export function verifyCommand(): Command {
  return new Command('verify')
    .description('check a draft against its target before it is deployed')
    .argument('<draft>', 'exported draft directory')
    .requiredOption('--target <model>', 'target: checkpoint directory, or hub id in the local cache')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', help)
    .action(async (draft: string, { target, json }: { target: string; json?: true }) => {
      const { verifyDraft } = await import('../api.js');
      const report = await verifyDraft({ draft, target });
      if (json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
      else {
        for (const { ok, name, message } of report.checks) {
          process.stdout.write(`${ok ? pc.green('ok   ') : pc.red('wrong')}  ${name}: ${message}\n`);
        }
      }
      if (!report.ok) process.exitCode = ExitCode.failure;
    });
}
