// A whole online optimizer step from a conversation on: pictures decoded and cut, the target's prefill, the draft's
// training-time test, the update. eyas against transformers with the dense draft of `ttt`.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { alternate, expectEqual, relative } from '../harness/measure.mjs';
import { makeTarget, messages } from './prefill.mjs';

export const shapes = { qwen2_5_vl: {} };
export const defaultShapes = Object.keys(shapes);

// The targets' last bits differ, in bfloat16 more than those, and the loss follows.
const bounds = { float32: 1e-3, bfloat16: 2e-2 };
const conversation = messages(
  Array.from({ length: 24 }, (_, i) => `In picture ${(i % 3) + 1} I see a red circle.`).join(' '),
);
const draft = { steps: 7, draft_vocab: 8000, intermediate: 2816 };

export async function* run({ names, dtypes, repeat }, { eyas, peer, say }) {
  for (const family of names) {
    const folder = mkdtempSync(join(tmpdir(), 'eyas-bench-'));
    try {
      const maker = peer('target');
      await makeTarget(maker, folder, family);
      await maker.stop();
      for (const dtype of dtypes) {
        say(`end-to-end ${family} ${dtype}`);
        yield await measure(family, dtype, folder, repeat, { eyas, peer, say });
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

async function measure(family, dtype, folder, repeat, { eyas, peer, say }) {
  const [ours, theirs] = [eyas('target'), peer('target')];
  const both = async (request) => [await ours.ask(request), await theirs.ask(request)];
  try {
    await both({ do: 'load', folder, dtype });
    const path = join(folder, `draft-${dtype}.safetensors`);
    const made = await ours.ask({ do: 'load_draft', path, dtype, ...draft });
    await theirs.ask({ do: 'load_draft', path, steps: draft.steps, ...made });
    const { tokens, loss_mask } = await ours.ask({ do: 'read', messages: conversation });
    const step = (lr) => [
      () => ours.ask({ do: 'train', messages: conversation, lr }),
      () => theirs.ask({ do: 'train', messages: conversation, loss_mask, lr }),
    ];
    let difference = 0;
    for (const lr of [0, 1e-4, 1e-4]) {
      const [mine, its] = step(lr);
      const [a, b] = [await mine(), await its()];
      difference = Math.max(difference, ...a.step_loss.map((loss, s) => relative(loss, b.step_loss[s])));
    }
    expectEqual(`end-to-end ${family} ${dtype}, losses of three steps`, difference, bounds[dtype]);
    say(`  losses of three steps differ by ${difference.toExponential(1)}`);
    await both({ do: 'reset_peak' });
    const times = await alternate(...step(1e-4), repeat);
    const [mine, its] = await both({ do: 'peak' });
    return {
      suite: 'end-to-end',
      shape: family,
      dtype,
      ...times,
      gflop_needed: null,
      ceiling_share: null,
      eyas_peak_mb: mine.mb,
      peer_peak_mb: its.mb,
      max_loss_difference: difference,
      tokens,
      supervised: loss_mask.reduce((sum, one) => sum + one, 0),
      peer: 'transformers, dense PyTorch',
    };
  } finally {
    await ours.stop();
    await theirs.stop();
  }
}
