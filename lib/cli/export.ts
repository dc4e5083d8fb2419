import { Command, Option } from 'commander';
import { formatBytes, formatTable } from './table.js';

interface ExportFlags {
  checkpoint: string;
  model?: string;
  out: string;
  dtype: 'float32' | 'bfloat16';
  includeEmbeddings?: true;
}

const help = `
Example:
  $ eyas export --checkpoint runs/first --model Qwen/Qwen2.5-VL-7B-Instruct --out draft
`;

export function exportCommand(): Command {
  return new Command('export')
    .description('write a checkpoint as a draft directory that SGLang and vLLM load')
    .requiredOption(
      '--checkpoint <dir>',
      'output directory of a run (its best checkpoint is taken), or one of its checkpoints',
    )
    .option(
      '--model <model>',
      'target: checkpoint directory, or hub id in the local cache; what the run names if absent',
    )
    .requiredOption('--out <dir>', 'directory to write')
    .addOption(
      new Option('--dtype <type>', 'element type of the weights')
        .choices(['float32', 'bfloat16'])
        .default('bfloat16'),
    )
    .option(
      '--include-embeddings',
      "also write the target's input embedding (vLLM with pipeline parallelism)",
    )
    .addHelpText('after', help)
    .action(async (flags: ExportFlags) => {
      const { exportDraft } = await import('../api.js');
      const { path, files } = await exportDraft(flags);
      const rows = files.map(({ name, bytes }) => [`  ${name}`, formatBytes(bytes)]);
      process.stdout.write(`${path}\n${formatTable(rows, [1])}\n`);
    });
}
