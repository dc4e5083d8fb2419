import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { configReference } from '../training/config.js';
import { loadConfig } from '../training/config-file.js';
import { describeMetrics, formatSeconds } from '../training/progress.js';
import { UsageError } from './errors.js';
import { collect } from './options.js';
import { runWithProgress } from './run.js';
import { formatBytes, formatFields, formatTable } from './table.js';

interface TrainFlags {
  model?: string;
  data?: string[];
  eval?: string[];
  output?: string;
  resume?: string;
  set?: string[];
  printConfig?: true;
}

const help = (): string => `
Example:
  $ eyas train train.yaml optimizer.learningRate=2e-4 training.epochs=3
  $ eyas train --model Qwen/Qwen2.5-VL-7B-Instruct --data train.jsonl --eval heldout.jsonl --output runs/first

A run goes on from the latest checkpoint in its output directory. Ctrl-C saves a checkpoint and ends.

Config (YAML with these keys, nested; overrides use them with dots):
${formatTable(
  configReference().map((field) => [
    `  ${field.key}`,
    field.required ? 'required' : (field.default ?? ''),
    `${field.description} (${field.type})`,
  ]),
)}
`;

export function trainCommand(): Command {
  return new Command('train')
    .description('train a draft')
    .argument('[config]', 'YAML file')
    .argument('[overrides...]', 'key.path=value, over what the file says')
    .option('--model <model>', 'target: checkpoint directory, or hub id in the local cache')
    .option('--data <file>', 'JSONL, JSON or parquet file to train on; may be repeated', collect)
    .option('--eval <file>', 'file of held-out conversations; may be repeated', collect)
    .option('--output <dir>', 'directory of checkpoints and metrics')
    .option('--resume <how>', 'auto, never, or a checkpoint directory')
    .option('--set <key=value>', 'the same as an override; may be repeated', collect)
    .option('--print-config', 'print the whole config as YAML and end')
    .addHelpText('after', help)
    .action(async (first: string | undefined, rest: string[], flags: TrainFlags) => {
      const isOverride = first?.includes('=') === true && !existsSync(first);
      const file = isOverride ? undefined : first;
      if (file === undefined && first === undefined && flags.model === undefined && !flags.set) {
        throw new UsageError(
          'expected a config file, or --model, --data and --output; see eyas train --help',
        );
      }
      const config = loadConfig(file, [
        ...shortcuts(flags),
        ...(isOverride ? [first] : []),
        ...rest,
        ...(flags.set ?? []),
      ]);
      if (flags.printConfig) {
        process.stdout.write(stringify(config));
        return;
      }
      const { train } = await import('../api.js');
      const result = await runWithProgress((run) => train(config, run));
      if (!result) return;
      const fields = formatFields([
        ['steps', `${result.steps}${result.stopped ? ' (stopped; the same command goes on from here)' : ''}`],
        ['held-out', Object.keys(result.metrics).length > 0 ? describeMetrics(result.metrics) : undefined],
        ['latest', result.latestCheckpoint],
        ['best', result.bestCheckpoint],
        ['time', formatSeconds(result.seconds)],
        ['peak native memory', formatBytes(result.peakBytes)],
      ]);
      process.stdout.write(`${fields}\n`);
    });
}

/** Flags that stand for config keys. */
function shortcuts(flags: TrainFlags): string[] {
  const values = {
    model: flags.model,
    'data.train': flags.data,
    'data.eval': flags.eval,
    output: flags.output,
    resume: flags.resume,
  };
  return Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${JSON.stringify(value)}`],
  );
}
