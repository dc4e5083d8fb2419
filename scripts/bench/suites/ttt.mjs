// One optimizer step of the draft, target states given: the training-time test, backward, clipping, AdamW. eyas against
// the dense algorithm in PyTorch.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { alternate, expectEqual, median, relative } from '../harness/measure.mjs';

const small = {
  hidden: 1024,
  intermediate: 2816,
  heads: 16,
  kv_heads: 4,
  vocab: 32000,
  draft_vocab: 8000,
  tokens: 1024,
  supervised: 160,
  steps: 7,
};

export const shapes = {
  vlm: small,
  chat: { ...small, supervised: 614 },
  long: { ...small, tokens: 8192, supervised: 512 },
  wide: {
    ...small,
    hidden: 2048,
    intermediate: 5504,
    kv_heads: 8,
    vocab: 64000,
    draft_vocab: 16000,
  },
  /** Of Qwen2.5-VL-7B: for a GPU. */
  '7b': {
    hidden: 3584,
    intermediate: 18944,
    heads: 28,
    kv_heads: 4,
    vocab: 152064,
    draft_vocab: 32000,
    tokens: 4096,
    supervised: 600,
    steps: 7,
  },
  /** Seconds, for tests of this harness. */
  tiny: {
    hidden: 64,
    intermediate: 96,
    heads: 4,
    kv_heads: 2,
    vocab: 400,
    draft_vocab: 100,
    tokens: 48,
    supervised: 20,
    steps: 4,
  },
};
export const defaultShapes = ['vlm', 'chat', 'long', 'wide'];

// What rounding explains. bfloat16: the peer also keeps activations, weights and gradients in it, eyas only factors of
// products.
const bounds = { float32: { loss: 1e-4, gradNorm: 1e-3 }, bfloat16: { loss: 1e-2, gradNorm: 5e-2 } };

export async function* run({ names, dtypes, repeat, specforge, compiled }, { eyas, peer, say }) {
  for (const name of names) {
    const shape = shapes[name];
    const folder = mkdtempSync(join(tmpdir(), 'eyas-bench-'));
    try {
      for (const dtype of dtypes) {
        say(`ttt ${name} ${dtype}`);
        yield await measure(name, shape, dtype, { repeat, specforge, compiled, folder }, { eyas, peer, say });
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

/** The step's products alone as a share of the step: medians of runs that alternate, for both meet the same disturbances. */
async function ceiling(ours, step, repeat) {
  const [steps, products] = [[], []];
  let counted;
  for (let i = 0; i < repeat; i++) {
    steps.push((await ours.ask(step)).seconds);
    counted = await ours.ask({ do: 'ceiling' });
    products.push(counted.seconds);
  }
  const { gflop, gflop_dense } = counted;
  return {
    share: median(products) / median(steps),
    ceiling_ms: 1000 * median(products),
    gflop,
    gflop_dense,
  };
}

async function measure(name, shape, dtype, { repeat, specforge, compiled, folder }, { eyas, peer, say }) {
  const ours = eyas('ttt');
  const theirs = peer('ttt');
  try {
    const rules = specforge ? 'specforge' : 'tokens';
    await ours.ask({ do: 'load', folder, shape, dtype, rules });
    await theirs.ask({ do: 'load', folder, shape, dtype, specforge, compiled });
    const [a, b] = [await ours.ask({ do: 'step', lr: 0 }), await theirs.ask({ do: 'step', lr: 0 })];
    const differences = a.step_loss.map((loss, s) => relative(loss, b.step_loss[s]));
    const difference = Math.max(relative(a.loss, b.loss), ...differences);
    expectEqual(`ttt ${name} ${dtype}, losses`, difference, bounds[dtype].loss);
    const gradients = relative(a.grad_norm, b.grad_norm);
    expectEqual(`ttt ${name} ${dtype}, gradient norm`, gradients, bounds[dtype].gradNorm);
    say(`  losses differ by ${difference.toExponential(1)}, gradient norms by ${gradients.toExponential(1)}`);
    await ours.ask({ do: 'reset_peak' });
    await theirs.ask({ do: 'reset_peak' });
    const step = { do: 'step', lr: 1e-4 };
    const times = await alternate(
      () => ours.ask(step),
      () => theirs.ask(step),
      repeat,
    );
    const [mine, its] = [await ours.ask({ do: 'peak' }), await theirs.ask({ do: 'peak' })];
    const { outside_native_share } = await ours.ask({ do: 'profile' });
    await theirs.stop();
    const { share, ceiling_ms, gflop, gflop_dense } = await ceiling(ours, step, repeat);
    return {
      suite: 'ttt',
      shape: name,
      dtype,
      ...times,
      gflop_needed: gflop,
      ceiling_share: share,
      eyas_peak_mb: mine.mb,
      peer_peak_mb: its.mb,
      max_loss_difference: difference,
      grad_norm_difference: gradients,
      gflop_dense,
      ceiling_ms,
      outside_native_share,
      peer: specforge ? 'SpecForge' : compiled ? 'dense PyTorch, compiled' : 'dense PyTorch',
    };
  } finally {
    await ours.stop();
    await theirs.stop();
  }
}
