import type { DeviceName } from '../device-name.js';
import { Command, Option } from 'commander';
import type { Engine } from '../serving/contract.js';
import { collect, count, device, list } from './options.js';
import { runWithProgress } from './run.js';
import { formatBytes } from './table.js';

interface FeaturesFlags {
  model: string;
  data: string[];
  out: string;
  layers: 'aux' | 'all';
  auxLayers?: number[];
  logits?: true;
  mediaFeatures?: true;
  dtype: 'float32' | 'bfloat16';
  serving: Engine;
  positionRule: 'engines' | 'transformers5';
  useAudioInVideo?: true;
  mediaRoot?: string;
  maxLength?: number;
  onBadRecord: 'fail' | 'skip';
  threads?: number;
  device: DeviceName;
}

const help = `
Writes a safetensors file a record, named by its id: input_ids [T], loss_mask [T], position_ids [axes, T],
aux_hidden_states [T, 3H], last_hidden_states [T, H], and with --layers all hidden_states [N+1, T, H], the residual
stream before the final norm, with --logits logits [T, V], with --media-features media.<i>.<field> (pixels, grid …; flat).

Example:
  $ eyas features --model Qwen/Qwen2.5-VL-7B-Instruct --data train.jsonl --out features --dtype bfloat16
`;

export function featuresCommand(): Command {
  return new Command('features')
    .description("write the target's hidden states of every record")
    .requiredOption('--model <model>', 'target: checkpoint directory, or hub id in the local cache')
    .requiredOption('--data <file>', 'JSONL, JSON or parquet file of conversations; may be repeated', collect)
    .requiredOption('--out <dir>', 'directory to write')
    .addOption(new Option('--layers <which>', 'aux layers, or all').choices(['aux', 'all']).default('aux'))
    .option('--aux-layers <ids>', 'boundary ids of the aux layers, such as 2,14,25', list)
    .option('--logits', "also write the target's logits")
    .option('--media-features', 'also write what the processor made of media')
    .addOption(
      new Option('--dtype <type>', 'element type of the hidden states')
        .choices(['float32', 'bfloat16'])
        .default('float32'),
    )
    .addOption(
      new Option('--serving <engine>', 'contract to follow').choices(['sglang', 'vllm']).default('sglang'),
    )
    .addOption(
      new Option('--position-rule <rule>', 'how clips are laid out in prompts and positions')
        .choices(['engines', 'transformers5'])
        .default('engines'),
    )
    .addOption(new Option('--on-bad-record <what>', 'fail or skip').choices(['fail', 'skip']).default('fail'))
    .option('--use-audio-in-video', 'hear clips that have a sound track (omni families)')
    .option('--media-root <dir>', 'directory under which absolute media paths are allowed')
    .option('--max-length <tokens>', 'drop longer records', count)
    .option('--threads <n>', 'CPU threads (every core)', count)
    .option('--device <device>', 'cpu, cuda, cuda:N, or auto, a GPU where there is one', device, 'auto')
    .addHelpText('after', help)
    .action(async ({ serving, positionRule, auxLayers, ...flags }: FeaturesFlags) => {
      const { extractFeatures } = await import('../api.js');
      const options = { ...flags, serving: { engine: serving, positionRule, auxLayerIds: auxLayers } };
      const result = await runWithProgress((run) => extractFeatures(options, run));
      if (!result) return;
      const skipped = Object.values(result.records.skipped).reduce((sum, n) => sum + n, 0);
      process.stdout.write(
        `${result.out}: ${result.files} files, ${result.tokens} tokens, ${formatBytes(result.bytes)}, ` +
          `${skipped} records skipped\n`,
      );
    });
}
