import { Command, Option } from 'commander';
import pc from 'picocolors';
import type { Engine } from '../serving/contract.js';
import { ExitCode } from './errors.js';

interface VerifyFlags {
  target: string;
  engine?: Engine;
  json?: true;
}

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
    .addOption(
      new Option('--engine <name>', 'server it is to run on; the one it was trained for if absent').choices([
        'sglang',
        'vllm',
      ]),
    )
    .option('--json', 'print the report as JSON')
    .addHelpText('after', help)
    .action(async (draft: string, { json, ...flags }: VerifyFlags) => {
      const { verifyDraft } = await import('../api.js');
      const report = await verifyDraft({ draft, ...flags });
      if (json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
      else {
        for (const { ok, name, message } of report.checks) {
          process.stdout.write(`${ok ? pc.green('ok   ') : pc.red('wrong')}  ${name}: ${message}\n`);
        }
      }
      if (!report.ok) process.exitCode = ExitCode.failure;
    });
}
