import { Command } from 'commander';
import { formatBytes, formatTable } from './table.js';

interface ExportFlags {
  checkpoint: string;
  model: string;
  out: string;
}

const help = `
Example:
  $ eyas export --checkpoint runs/first/checkpoints/step-000400 --model Qwen/Qwen2.5-VL-7B-Instruct --out draft
`;

export function exportCommand(): Command {
  return new Command('export')
    .description('write a checkpoint as a draft directory that SGLang and vLLM load')
    .requiredOption('--checkpoint <dir>', 'checkpoint of a run: RUN/checkpoints/step-NNNNNN')
    .requiredOption('--model <model>', 'target: checkpoint directory, or hub id in the local cache')
    .requiredOption('--out <dir>', 'directory to write')
    .addHelpText('after', help)
    .action(async (flags: ExportFlags) => {
      const { exportDraft } = await import('../api.js');
      const { path, files } = await exportDraft(flags);
      const rows = files.map(({ name, bytes }) => [`  ${name}`, formatBytes(bytes)]);
      process.stdout.write(`${path}\n${formatTable(rows, [1])}\n`);
    });
}
