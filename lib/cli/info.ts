import { Command } from 'commander';
import { version } from '../version.js';
import { formatBytes, formatFields, type Fields } from './table.js';

const help = `
Example:
  $ eyas info
  $ eyas info Qwen/Qwen2.5-VL-7B-Instruct
  $ eyas info runs/first/draft
`;

export function infoCommand(): Command {
  return new Command('info')
    .description('say what this machine, a target, a draft or a checkpoint is')
    .argument('[model]', 'directory, or hub id in the local cache; this machine if absent')
    .option('--json', 'print as JSON')
    .addHelpText('after', help)
    .action(async (model: string | undefined, { json }: { json?: true }) => {
      const fields = model === undefined ? await describeMachine() : await describeModel(model);
      process.stdout.write(
        `${json ? JSON.stringify(Object.fromEntries(fields), null, 2) : formatFields(fields)}\n`,
      );
    });
}

async function describeMachine(): Promise<Fields> {
  const fields: Fields = [
    ['eyas', version],
    ['node', `${process.version} ${process.platform}-${process.arch}`],
  ];
  try {
    const { native } = await import('../native.js');
    const { isa, threads, onednn, bfloat16Gemm } = native.info();
    fields.push(['isa', isa], ['threads', String(threads)], ['oneDNN', onednn]);
    fields.push(['bfloat16 products', bfloat16Gemm ? 'in hardware' : 'no: float32 is used']);
    const { devices, reason } = native.cudaDevices();
    devices.forEach(({ name, computeCapability, bytes }, i) => {
      fields.push([`cuda:${i}`, `${name}, compute capability ${computeCapability}, ${formatBytes(bytes)}`]);
    });
    if (reason !== undefined) fields.push(['cuda', `none: ${reason}`]);
  } catch (error) {
    fields.push(['addon', `cannot be loaded: ${(error as Error).message.split('\n')[0]!}`]);
  }
  return fields;
}

// The reader of weights needs the addon: it is loaded only for those who ask about weights.
async function describeModel(model: string): Promise<Fields> {
  const { describeDirectory } = await import('./describe.js');
  return describeDirectory(model);
}
