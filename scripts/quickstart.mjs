#!/usr/bin/env node
// The main job on an embedded target: trains a draft, decodes with it before and after, exports and verifies it, and
// writes summary.json. models/tiny-qwen2.5-vl (runs/quickstart), or with --omni models/tiny-qwen3-omni, which hears too
// (runs/quickstart-omni).

import { rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { evaluate, exportDraft, train, verifyDraft } from '../dist/index.js';
import { runWithProgress } from '../dist/cli/run.js';
import { formatTable } from '../dist/cli/table.js';
import { native } from '../dist/native.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const { omni } = parseArgs({ options: { omni: { type: 'boolean', default: false } } }).values;
const model = join(root, 'models', omni ? 'tiny-qwen3-omni' : 'tiny-qwen2.5-vl');
const conversations = join(model, 'conversations');
const out = join(root, 'runs', omni ? 'quickstart-omni' : 'quickstart');
const chainLength = 5;

const config = {
  model,
  output: join(out, 'run'),
  data: { train: [join(conversations, 'train.jsonl')], eval: [join(conversations, 'heldout.jsonl')] },
  draft: { vocabSize: 640 },
  ttt: { steps: chainLength },
  optimizer: { learningRate: 3e-3 },
  training: {
    epochs: 14,
    batchTokens: 4096,
    dtype: native.info().bfloat16Gemm ? 'bfloat16' : 'float32',
    evalEvery: 50,
    saveEvery: 100,
  },
};

const say = (title) => console.log(`\n== ${title}`);
const job = async (start) => {
  const result = await runWithProgress(start);
  if (result === undefined) process.exit(); // Ctrl-C
  return result;
};
const evaluateDraft = (draft) =>
  job((run) => evaluate({ model, draft, data: config.data.eval, chainLength, maxNewTokens: 256 }, run));

rmSync(out, { recursive: true, force: true });

say('An untrained draft: what training starts from');
const untrained = await job((run) =>
  train({ ...config, output: join(out, 'untrained'), training: { ...config.training, maxSteps: 0 } }, run),
);
const untrainedDraft = join(out, 'untrained', 'draft');
await exportDraft({ checkpoint: untrained.latestCheckpoint, model, out: untrainedDraft });
const before = await evaluateDraft(untrainedDraft);

say('Training');
const trained = await job((run) => train(config, run));
if (trained.stopped) process.exit(130);

say('Export');
const draftDir = join(out, 'draft');
const { path, files } = await exportDraft({ checkpoint: trained.bestCheckpoint, model, out: draftDir });
console.log(`${relative(root, path)}: ${files.map(({ name }) => name).join(', ')}`);

say('Speculative decoding of the held-out records');
const after = await evaluateDraft(draftDir);

say('Verify');
const report = await verifyDraft({ draft: draftDir, target: model });
for (const { ok, name, message } of report.checks) if (!ok) console.log(`WRONG  ${name}: ${message}`);
console.log(`${report.checks.filter((check) => check.ok).length} of ${report.checks.length} checks ok`);
// A draft can be right for a target that no engine serves with EAGLE-3 yet.
const served = report.checks.every(({ ok, name }) => ok || name !== 'engine support');
const verified = report.checks.every(({ ok, name }) => ok || name === 'engine support');

const summary = {
  accept_length_before: before.acceptLength,
  accept_length_after: after.acceptLength,
  accept_length_by_modality: Object.fromEntries(
    Object.entries(after.byModality).map(([modality, { acceptLength }]) => [modality, acceptLength]),
  ),
  accept_length_simulated: after.simulatedAcceptLength,
  acceptance_by_position: after.acceptanceByPosition,
  lossless: before.lossless && after.lossless,
  speedup: after.speedup,
  tokens_per_second: after.tokensPerSecond,
  train_seconds: trained.seconds,
  peak_native_bytes: trained.peakBytes,
  draft_dir: relative(root, draftDir),
  verify_ok: verified,
  engine_serves_target: served,
};
writeFileSync(join(out, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);

const two = (value) => value.toFixed(2);
const rate = (value) => `${Math.round(value)} tokens/s`;
say('Summary');
console.log(
  formatTable([
    ['', 'untrained', 'trained'],
    ['accept length (K = 5)', two(before.acceptLength), two(after.acceptLength)],
    ...Object.entries(after.byModality).map(([modality, { acceptLength }]) => [
      `  ${modality}`,
      two(before.byModality[modality].acceptLength),
      two(acceptLength),
    ]),
    ['  simulated', two(before.simulatedAcceptLength), two(after.simulatedAcceptLength)],
    [
      'speculative decoding',
      rate(before.tokensPerSecond.speculative),
      rate(after.tokensPerSecond.speculative),
    ],
    ['target alone', rate(before.tokensPerSecond.target), rate(after.tokensPerSecond.target)],
    ['speedup', `${two(before.speedup)}×`, `${two(after.speedup)}×`],
    ['same text as the target', before.lossless ? 'yes' : 'NO', after.lossless ? 'yes' : 'NO'],
    ['training', '', `${Math.round(trained.seconds)} s, peak ${Math.round(trained.peakBytes / 2 ** 20)} MiB`],
    [
      'draft',
      '',
      `${relative(root, draftDir)} (verify ${verified ? 'ok' : 'FAILED'}${served ? '' : ', no engine serves this target with EAGLE-3 yet'})`,
    ],
  ]),
);
if (!summary.lossless || !summary.verify_ok) process.exitCode = 1;
