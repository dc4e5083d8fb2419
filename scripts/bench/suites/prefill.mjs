// A target's prefill of a conversation with pictures, all hidden states kept: eyas against transformers.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { alternate, expectEqual } from '../harness/measure.mjs';

/** Text decoders at the size of a published one, with random weights of each side's own: timed, not compared. */
const decoders = {
  '7b': {
    tokens: 4096,
    aux_layers: [2, 14, 25],
    config: {
      hidden_size: 3584,
      intermediate_size: 18944,
      num_hidden_layers: 28,
      num_attention_heads: 28,
      num_key_value_heads: 4,
      vocab_size: 152064,
      max_position_embeddings: 32768,
      rope_theta: 1e6,
    },
  },
  /** Seconds, for tests of this harness. */
  tiny: {
    tokens: 40,
    aux_layers: [1, 2, 3],
    config: {
      hidden_size: 64,
      intermediate_size: 96,
      num_hidden_layers: 4,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      vocab_size: 100,
      max_position_embeddings: 128,
      rope_theta: 1e6,
    },
  },
};

export const shapes = { qwen2_5_vl: {}, qwen3_vl_moe: {}, ...decoders };
export const defaultShapes = ['qwen2_5_vl', 'qwen3_vl_moe'];

// Of the largest value; bfloat16: both sides round every activation differently.
const bounds = { float32: 1e-3, bfloat16: 0.1 };
const names = ['0.jpg', '1.jpg', '2.jpg'];

/** A conversation about three pictures. */
export const messages = (answer) => [
  {
    role: 'user',
    content: [
      ...names.map((image) => ({ type: 'image', image })),
      { type: 'text', text: 'What is in the pictures? '.repeat(50) },
    ],
  },
  { role: 'assistant', content: answer },
];

/** Makes a checkpoint of a middle size with its pictures. */
export async function makeTarget(peer, folder, family) {
  await peer.ask({ do: 'make', folder, family });
  await peer.ask({ do: 'draw', folder, names, width: 640, height: 480 });
}

export async function* run({ names: families, dtypes, repeat }, { eyas, peer, say }) {
  for (const family of families) {
    if (family in decoders) {
      for (const dtype of dtypes) {
        say(`prefill ${family} ${dtype}`);
        yield await measureDecoder(family, dtype, repeat, { eyas, peer });
      }
      continue;
    }
    const folder = mkdtempSync(join(tmpdir(), 'eyas-bench-'));
    try {
      const maker = peer('target');
      await makeTarget(maker, folder, family);
      await maker.stop();
      for (const dtype of dtypes) {
        say(`prefill ${family} ${dtype}`);
        yield await measure(family, dtype, folder, repeat, { eyas, peer, say });
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

/** Times both sides' prefill, which has run once; what a result has of it. */
async function timePrefill(ours, theirs, { shape, dtype, repeat, tokens }) {
  const both = async (request) => [await ours.ask(request), await theirs.ask(request)];
  await both({ do: 'reset_peak' });
  const times = await alternate(
    () => ours.ask({ do: 'prefill' }),
    () => theirs.ask({ do: 'prefill' }),
    repeat,
  );
  const [eyasPeak, peerPeak] = await both({ do: 'peak' });
  return {
    suite: 'prefill',
    shape,
    dtype,
    ...times,
    gflop_needed: null,
    ceiling_share: null,
    eyas_peak_mb: eyasPeak.mb,
    peer_peak_mb: peerPeak.mb,
    max_loss_difference: null,
    tokens,
    peer: 'transformers',
  };
}

async function measureDecoder(name, dtype, repeat, { eyas, peer }) {
  const [ours, theirs] = [eyas('decoder'), peer('decoder')];
  const both = async (request) => [await ours.ask(request), await theirs.ask(request)];
  try {
    await both({ do: 'load', dtype, ...decoders[name] });
    for (const { finite } of await both({ do: 'prefill' })) {
      if (!finite) throw new Error(`prefill ${name}: expected finite states, received others`);
    }
    return await timePrefill(ours, theirs, { shape: name, dtype, repeat, tokens: decoders[name].tokens });
  } finally {
    await ours.stop();
    await theirs.stop();
  }
}

async function measure(family, dtype, folder, repeat, { eyas, peer, say }) {
  const [ours, theirs] = [eyas('target'), peer('target')];
  const both = async (request) => [await ours.ask(request), await theirs.ask(request)];
  try {
    await both({ do: 'load', folder, dtype });
    const [mine, its] = await both({ do: 'read', messages: messages('A red circle.') });
    if (mine.tokens !== its.tokens) {
      throw new Error(
        `prefill ${family}: expected ${its.tokens} tokens, as transformers has, received ${mine.tokens}`,
      );
    }
    const [a, b] = await both({ do: 'prefill' });
    const largest = Math.max(...b.sample.map(Math.abs));
    const difference = Math.max(...b.sample.map((value, i) => Math.abs(value - a.sample[i]))) / largest;
    expectEqual(`prefill ${family} ${dtype}, last hidden state`, difference, bounds[dtype]);
    say(`  last hidden states differ by ${difference.toExponential(1)} of the largest value`);
    return {
      ...(await timePrefill(ours, theirs, { shape: family, dtype, repeat, tokens: mine.tokens })),
      hidden_difference: difference,
    };
  } finally {
    await ours.stop();
    await theirs.stop();
  }
}
