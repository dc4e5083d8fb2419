import type { DeviceName } from '../device-name.js';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import type { AcceptanceReport, EvaluateResult } from '../worker/jobs.js';
import { ExitCode } from './errors.js';
import { collect, count, device } from './options.js';
import { runWithProgress } from './run.js';
import { formatFields, formatTable } from './table.js';

interface EvalFlags {
  model: string;
  draft: string;
  data: string[];
  mediaRoot?: string;
  chainLength?: number;
  maxNewTokens?: number;
  maxRecords?: number;
  dtype: 'float32' | 'bfloat16';
  threads?: number;
  device: DeviceName;
  json?: true;
}

const help = `
Every answer is decoded twice, by the target alone and speculatively, and compared. Exit code 1 if any differs.

Example:
  $ eyas eval --model Qwen/Qwen2.5-VL-7B-Instruct --draft runs/first/draft --data heldout.jsonl
`;

export function evalCommand(): Command {
  return new Command('eval')
    .description('decode held-out records with and without a draft; report accept length and speed')
    .requiredOption('--model <model>', 'target: checkpoint directory, or hub id in the local cache')
    .requiredOption('--draft <dir>', 'exported draft')
    .requiredOption('--data <file>', 'JSONL, JSON or parquet file of conversations; may be repeated', collect)
    .option('--media-root <dir>', 'directory under which absolute media paths are allowed')
    .option('--chain-length <k>', 'tokens that the draft proposes in a round (5)', count)
    .option('--max-new-tokens <n>', 'longest answer (256)', count)
    .option('--max-records <n>', 'stop after this many records', count)
    .addOption(
      new Option('--dtype <type>', "target's weights and products")
        .choices(['float32', 'bfloat16'])
        .default('float32'),
    )
    .option('--threads <n>', 'CPU threads (every core)', count)
    .option('--device <device>', 'cpu, cuda, cuda:N, or auto, a GPU where there is one', device, 'auto')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', help)
    .action(async ({ json, ...options }: EvalFlags) => {
      const { evaluate } = await import('../api.js');
      const result = await runWithProgress((run) => evaluate(options, run));
      if (!result) return;
      process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : formatEvaluation(result));
      if (!result.lossless) process.exitCode = ExitCode.failure;
    });
}

export function formatEvaluation(result: EvaluateResult): string {
  const positions = result.acceptanceByPosition.map((_, i) => `pos ${i + 1}`);
  const row = (name: string, report: AcceptanceReport): string[] => [
    name,
    String(report.records),
    String(report.tokens),
    report.acceptLength.toFixed(2),
    ...report.acceptanceByPosition.map((share) => `${(100 * share).toFixed(1)}%`),
  ];
  const rows = [
    ['', 'records', 'tokens', 'accept length', ...positions],
    ...Object.entries(result.byModality).map(([name, report]) => row(name, report)),
    row('all', result),
  ];
  const table = formatTable(
    rows,
    rows[0]!.map((_, i) => i).filter((i) => i > 0),
  );
  const { target, speculative } = result.tokensPerSecond;
  const fields = formatFields([
    [
      'lossless',
      result.lossless ? pc.green('yes') : pc.red(`no: answers differ for ${result.mismatches.join(', ')}`),
    ],
    ['simulated accept length', result.simulatedAcceptLength.toFixed(2)],
    ['tokens/s, target alone', target.toFixed(1)],
    ['tokens/s, speculative', `${speculative.toFixed(1)} (${result.speedup.toFixed(2)} times)`],
  ]);
  return `${table}\n\n${fields}\n`;
}
