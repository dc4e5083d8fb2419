// The embedded default trained on the GPU and on the CPU: the same losses, and a draft that decodes.
//
//   training.mjs [small|full]      prints one JSON object; small is for the emulation

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { evaluate, exportDraft, train } from '../../dist/index.js';

const sizes = {
  small: { steps: 2, batchTokens: 256, evaluation: { maxRecords: 1, maxNewTokens: 6 } },
  full: { steps: 150, batchTokens: 4096, evaluation: { maxRecords: 24, maxNewTokens: 128 } },
};

// Rounding that differs grows with the steps; these are a few times what it came to between kinds of CPUs.
const bounds = { float32: 1e-2, bfloat16: 3e-2 };

const model = fileURLToPath(new URL('../../models/tiny-qwen2.5-vl', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'eyas-proof-'));

/** The conversations without clips, for which the machine needs no ffmpeg. */
function conversations(name) {
  const from = join(model, 'conversations');
  cpSync(join(from, 'media'), join(folder, 'media'), { recursive: true });
  const lines = readFileSync(join(from, `${name}.jsonl`), 'utf8').split('\n');
  const kept = lines.filter((line) => line && !line.includes('.mp4'));
  writeFileSync(join(folder, `${name}.jsonl`), `${kept.join('\n')}\n`);
  return join(folder, `${name}.jsonl`);
}

async function losses(device, dtype, data) {
  const list = [];
  const started = performance.now();
  const result = await train(
    {
      model,
      output: join(folder, `${device}-${dtype}`),
      data: { train: [data] },
      draft: { vocabSize: 640 },
      ttt: { steps: 5 },
      optimizer: { learningRate: 3e-3 },
      training: {
        maxSteps: steps,
        epochs: 1000,
        batchTokens,
        dtype,
        targetDtype: dtype,
        device,
        evalEvery: 0,
      },
    },
    { onEvent: (event) => event.type === 'step' && list.push(event.loss) },
  );
  return { list, checkpoint: result.latestCheckpoint, seconds: (performance.now() - started) / 1000 };
}

const size = process.argv[2] ?? 'full';
if (!(size in sizes)) throw new Error(`expected ${Object.keys(sizes).join(' or ')}, received ${size}`);
const { steps, batchTokens, evaluation } = sizes[size];
try {
  const data = conversations('train');
  const report = { steps, ok: true };
  let trained;
  for (const dtype of ['float32', 'bfloat16']) {
    const [cpu, cuda] = [await losses('cpu', dtype, data), await losses('cuda', dtype, data)];
    const differences = cpu.list.map((loss, s) => Math.abs(loss - cuda.list[s]) / loss);
    const largest = Math.max(...differences);
    report[dtype] = {
      first_loss: cpu.list[0],
      last_loss_cpu: cpu.list.at(-1),
      last_loss_cuda: cuda.list.at(-1),
      first_difference: differences[0],
      largest_difference: largest,
      bound: bounds[dtype],
      seconds_cpu: cpu.seconds,
      seconds_cuda: cuda.seconds,
    };
    report.ok &&= cpu.list.length === steps && cuda.list.length === steps && largest <= bounds[dtype];
    trained = cuda.checkpoint;
  }
  const { path } = await exportDraft({ checkpoint: trained, model, out: join(folder, 'draft') });
  const options = { model, draft: path, data: [conversations('heldout')], ...evaluation };
  const { acceptLength, lossless } = await evaluate({ ...options, device: 'cuda' });
  Object.assign(report, { accept_length: acceptLength, lossless, ok: report.ok && lossless });
  console.log(JSON.stringify(report));
  process.exitCode = report.ok ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
