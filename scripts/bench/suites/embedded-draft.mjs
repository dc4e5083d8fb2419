import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { exportDraft, train } from '../../../dist/index.js';
import { native } from '../../../dist/native.js';

/** A draft of the embedded target: the quickstart's if it was run, else one trained here as it does (two minutes). */
export async function trainDraft(model, output, say) {
  for (const found of [join(output, '..', 'quickstart', 'draft'), join(output, 'draft')]) {
    if (existsSync(join(found, 'model.safetensors'))) return found;
  }
  rmSync(output, { recursive: true, force: true });
  const conversations = join(model, 'conversations');
  const config = {
    model,
    output: join(output, 'run'),
    data: { train: [join(conversations, 'train.jsonl')], eval: [join(conversations, 'heldout.jsonl')] },
    draft: { vocabSize: 640 },
    ttt: { steps: 5 },
    optimizer: { learningRate: 3e-3 },
    training: {
      epochs: 14,
      batchTokens: 4096,
      dtype: native.info().bfloat16Gemm ? 'bfloat16' : 'float32',
      evalEvery: 50,
    },
  };
  say('decode: training a draft for the embedded target');
  const { bestCheckpoint } = await train(config, {
    onEvent: (event) => {
      if (event.type === 'step' && event.step % 50 === 0) say(`  step ${event.step} of ${event.totalSteps}`);
    },
  });
  const { path } = await exportDraft({ checkpoint: bestCheckpoint, model, out: join(output, 'draft') });
  return path;
}
