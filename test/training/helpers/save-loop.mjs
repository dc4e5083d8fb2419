// Saves checkpoints one after another until it is killed; says `ready` after the first.
// node save-loop.mjs CHECKPOINTS FIRST_STEP
import { saveCheckpoint } from '../../../dist/training/checkpoint.js';
import { native } from '../../../dist/native.js';

const [directory, first] = process.argv.slice(2);
const size = 50_000;
for (let step = Number(first); ; step++) {
  const tensors = { weight: native.fromData(new Float32Array(size).fill(step), 'float32', [size]) };
  const optimizer = { 'weight.m': native.fromData(new Float32Array(size).fill(-step), 'float32', [size]) };
  const state = { step, totalSteps: 1e6, updates: step, nonFiniteInARow: 0, counts: {} };
  const best = step % 3 === 0;
  saveCheckpoint(directory, { tensors, optimizer, state }, { keep: 2, best });
  if (step === Number(first)) process.stdout.write('ready\n');
}
