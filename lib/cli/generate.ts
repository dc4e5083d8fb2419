import type { DeviceName } from '../device-name.js';
import { Command, Option } from 'commander';
import { collect, count, device } from './options.js';
import { runWithProgress } from './run.js';

interface GenerateFlags {
  model: string;
  draft?: string;
  prompt: string;
  image?: string[];
  video?: string[];
  audio?: string[];
  maxNewTokens?: number;
  chainLength?: number;
  dtype: 'float32' | 'bfloat16';
  threads?: number;
  device: DeviceName;
}

const help = `
Example:
  $ eyas generate --model Qwen/Qwen2.5-VL-7B-Instruct --draft draft --image cat.png --prompt 'What is this?'
`;

export function generateCommand(): Command {
  return new Command('generate')
    .description('answer one prompt, greedily')
    .requiredOption('--model <model>', 'target: checkpoint directory, or hub id in the local cache')
    .requiredOption('--prompt <text>', 'what the user says')
    .option('--draft <dir>', 'exported draft: decodes speculatively, with the same result')
    .option('--image <file>', 'image shown before the prompt; may be repeated', collect)
    .option('--video <file>', 'clip shown before the prompt; may be repeated', collect)
    .option('--audio <file>', 'sound heard before the prompt; may be repeated', collect)
    .option('--max-new-tokens <n>', 'longest answer (256)', count)
    .option('--chain-length <k>', 'tokens that the draft proposes in a round (5)', count)
    .addOption(
      new Option('--dtype <type>', "target's weights and products")
        .choices(['float32', 'bfloat16'])
        .default('float32'),
    )
    .option('--threads <n>', 'CPU threads (every core)', count)
    .option('--device <device>', 'cpu, cuda, cuda:N, or auto, a GPU where there is one', device, 'auto')
    .addHelpText('after', help)
    .action(async ({ image, video, audio, ...flags }: GenerateFlags) => {
      const { generate } = await import('../api.js');
      let streamed = 0;
      const options = { ...flags, images: image ?? [], videos: video ?? [], audios: audio ?? [] };
      const result = await runWithProgress(
        (run) => generate(options, run),
        (event) => {
          if (event.type !== 'text') return;
          process.stdout.write(event.text);
          streamed += event.text.length;
        },
      );
      if (!result) return;
      process.stdout.write(`${result.text.slice(streamed)}\n`);
      const accepted =
        result.acceptLength === undefined ? '' : `, accept length ${result.acceptLength.toFixed(2)}`;
      process.stderr.write(
        `${result.promptTokens} + ${result.tokens} tokens, ${result.tokensPerSecond.toFixed(1)} tokens/s${accepted}\n`,
      );
    });
}
