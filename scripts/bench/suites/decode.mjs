// Decoding with the embedded target: plain against transformers' greedy generation, speculative against plain.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { median } from '../harness/measure.mjs';
import { trainDraft } from './embedded-draft.mjs';

export const shapes = { 'tiny-qwen2.5-vl': {} };
export const defaultShapes = Object.keys(shapes);

const root = fileURLToPath(new URL('../../..', import.meta.url));
const model = join(root, 'models', 'tiny-qwen2.5-vl');
const prompts = 12;
const chainLength = 5;
const maxNewTokens = 256;

/** First turns of held-out records without clips. */
function firstTurns() {
  const records = readFileSync(join(model, 'conversations', 'heldout.jsonl'), 'utf8')
    .trim()
    .split('\n');
  return records
    .map((line) => JSON.parse(line).messages)
    .filter((messages) => messages.every(({ content }) => !JSON.stringify(content).includes('"video"')))
    .map((messages) =>
      messages.slice(
        0,
        messages.findIndex(({ role }) => role === 'assistant'),
      ),
    )
    .slice(0, prompts)
    .map((messages) =>
      messages.map((message) => ({
        ...message,
        content:
          typeof message.content === 'string'
            ? message.content
            : message.content.map((part) =>
                part.type === 'image' ? { ...part, image: join('conversations', part.image) } : part,
              ),
      })),
    );
}

/** Answers to all prompts: tokens after the first of each, and the seconds that they took. */
async function answer(side, extra = {}) {
  const total = { tokens: 0, seconds: 0, ids: [], rounds: 0, accepted: 0 };
  for (const messages of firstTurns()) {
    const result = await side.ask({ do: 'generate', messages, max_new_tokens: maxNewTokens, ...extra });
    total.tokens += result.ids.length - 1;
    total.seconds += result.seconds;
    total.ids.push(result.ids.join());
    total.rounds += result.rounds ?? 0;
    total.accepted += result.accepted ?? 0;
  }
  return total;
}

export async function* run({ repeat }, { eyas, peer, say }) {
  const draft = await trainDraft(model, join(root, 'runs', 'bench-draft'), say);
  if (!existsSync(draft)) throw new Error(`decode: expected an exported draft at ${draft}, received none`);
  const [ours, theirs] = [eyas('target'), peer('target')];
  try {
    await ours.ask({ do: 'load', folder: model, dtype: 'float32', draft });
    await theirs.ask({ do: 'load', folder: model, dtype: 'float32' });
    const kinds = {
      plain: () => answer(ours),
      speculative: () => answer(ours, { chain_length: chainLength }),
      peer: () => answer(theirs),
    };
    say('decode tiny-qwen2.5-vl');
    const runs = { plain: [], speculative: [], peer: [] };
    for (let i = 0; i <= repeat; i++) {
      for (const [kind, run] of Object.entries(kinds)) {
        const result = await run();
        await setTimeout(100);
        if (i > 0) runs[kind].push(result);
      }
    }
    const same = (a, b) => a.ids.filter((ids, i) => ids === b.ids[i]).length;
    const [plain, fast, other] = [runs.plain[0], runs.speculative[0], runs.peer[0]];
    if (same(plain, fast) !== plain.ids.length) {
      throw new Error('decode: expected the same text with and without a draft, received others');
    }
    const msPerToken = (kind) => median(runs[kind].map(({ seconds, tokens }) => (1000 * seconds) / tokens));
    const [plainMs, fastMs, peerMs] = ['plain', 'speculative', 'peer'].map(msPerToken);
    const common = {
      suite: 'decode',
      dtype: 'float32',
      runs: repeat,
      gflop_needed: null,
      ceiling_share: null,
      eyas_peak_mb: null,
      peer_peak_mb: null,
      max_loss_difference: null,
      tokens: plain.tokens,
    };
    yield {
      ...common,
      shape: 'plain',
      eyas_ms: plainMs,
      peer_ms: peerMs,
      ratio: peerMs / plainMs,
      peer: 'transformers, greedy',
      same_answers: `${same(plain, other)} of ${plain.ids.length}`,
    };
    yield {
      ...common,
      shape: 'speculative',
      eyas_ms: fastMs,
      peer_ms: plainMs,
      ratio: plainMs / fastMs,
      peer: 'eyas, plain',
      accept_length: 1 + fast.accepted / fast.rounds,
      ratio_to_transformers: peerMs / fastMs,
      same_answers: `${same(plain, fast)} of ${plain.ids.length}`,
    };
  } finally {
    await ours.stop();
    await theirs.stop();
  }
}
