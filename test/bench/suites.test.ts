import { tmpdir } from 'node:os';
import { describe, expect, it, vi } from 'vitest';
import { bench, resultFields, type Answer, type Result } from './helpers/modules.js';

// No pauses, and any folder for a draft: both sides are stand-ins here.
vi.mock('node:timers/promises', () => ({ setTimeout: () => Promise.resolve() }));
vi.mock('../../scripts/bench/suites/embedded-draft.mjs', () => ({
  trainDraft: () => Promise.resolve(tmpdir()),
}));

interface Suite {
  shapes: Record<string, unknown>;
  defaultShapes: string[];
  run(options: object, sides: object): AsyncIterable<Result>;
}
const suite = async (name: string): Promise<Suite> => (await bench('suites', `${name}.mjs`)) as Suite;

type Request = Record<string, unknown> & { do: string };
type Answers = Record<string, Answer | ((request: Request) => Answer)>;

/** Both sides of a run, each of which answers by the request's name; `run` gives results or the error. */
function sides(eyas: Answers, peer: Answers) {
  const log: { side: string; request: Request }[] = [];
  const open = new Set<object>();
  const side = (name: string, answers: Answers) => (): object => {
    const child = {
      ask(request: Request): Promise<Answer> {
        log.push({ side: name, request });
        const answer = answers[request.do] ?? {};
        return Promise.resolve(typeof answer === 'function' ? answer(request) : answer);
      },
      stop(): Promise<void> {
        open.delete(child);
        return Promise.resolve();
      },
    };
    open.add(child);
    return child;
  };
  const both = { say: () => undefined, eyas: side('eyas', eyas), peer: side('peer', peer) };
  const count = (name: string, request: object): number =>
    log.filter(({ side, request: asked }) => {
      return side === name && Object.entries(request).every(([key, value]) => asked[key] === value);
    }).length;
  const run = async (name: string, options: object): Promise<Result[]> => {
    const results: Result[] = [];
    try {
      for await (const result of (await suite(name)).run(options, both)) results.push(result);
    } finally {
      expect(open.size, 'processes left running').toBe(0);
    }
    return results;
  };
  return { run, count, log };
}

const options = (names: string[], dtype = 'float32') => ({ names, dtypes: [dtype], repeat: 2 });
const complete = (results: Result[]): void => {
  for (const result of results) {
    for (const field of resultFields) expect(result, field).toHaveProperty(field);
    expect(result.ratio).toBeCloseTo(result.peer_ms / result.eyas_ms, 9);
  }
};

describe('ttt', () => {
  const step = (seconds: number, loss: number, gradNorm: number): Answer => ({
    seconds,
    loss,
    step_loss: [loss, loss / 2],
    grad_norm: gradNorm,
  });
  const ours: Answers = {
    step: step(0.02, 4, 1),
    peak: { mb: 100 },
    profile: { outside_native_share: 0.05 },
    ceiling: { seconds: 0.015, gflop: 3, gflop_dense: 30 },
  };
  const theirs = (loss: number, gradNorm: number): Answers => ({
    step: step(0.5, loss, gradNorm),
    peak: { mb: 700 },
  });

  it('gives one complete result for each shape and dtype', async () => {
    const { run } = sides(ours, theirs(4.00004, 1.0001));
    const results = await run('ttt', { names: ['vlm', 'tiny'], dtypes: ['float32', 'bfloat16'], repeat: 1 });
    expect(results.map(({ shape, dtype }) => `${shape} ${dtype}`)).toEqual([
      'vlm float32',
      'vlm bfloat16',
      'tiny float32',
      'tiny bfloat16',
    ]);
    complete(results);
    const [result] = results;
    expect(result).toMatchObject({
      suite: 'ttt',
      eyas_ms: 20,
      peer_ms: 500,
      ratio: 25,
      gflop_needed: 3,
      eyas_peak_mb: 100,
      peer_peak_mb: 700,
    });
    expect(result!.ceiling_share).toBeCloseTo(0.75, 9);
    expect(result!.max_loss_difference).toBeCloseTo(1e-5, 7);
  });

  it('gives both sides the same shape, dtype and folder', async () => {
    const { run, log } = sides(ours, theirs(4, 1));
    await run('ttt', options(['long'], 'bfloat16'));
    const [mine, its] = log.filter(({ request }) => request.do === 'load').map(({ request }) => request);
    expect(mine).toMatchObject({ dtype: 'bfloat16', shape: (await suite('ttt')).shapes['long'] });
    for (const key of ['folder', 'shape', 'dtype']) expect(mine![key]).toEqual(its![key]);
  });

  it.each([
    ['losses', 'float32', 4.001, 1],
    ['losses', 'bfloat16', 4.1, 1],
    ['losses', 'float32', NaN, 1],
    ['gradient norm', 'float32', 4, 1.01],
    ['gradient norm', 'bfloat16', 4, 1.1],
    ['gradient norm', 'bfloat16', 4, NaN],
  ])('refuses to time sides whose %s differ in %s: %d, %d', async (what, dtype, loss, gradNorm) => {
    const { run, count } = sides(ours, theirs(loss, gradNorm));
    await expect(run('ttt', options(['vlm'], dtype))).rejects.toThrow(
      `ttt vlm ${dtype}, ${what}: expected eyas and its peer to differ by at most`,
    );
    expect(count('eyas', { do: 'step' })).toBe(1);
  });

  it('refuses a difference of one step alone', async () => {
    const peer = { ...theirs(4, 1), step: { ...step(1, 4, 1), step_loss: [4, 2.1] } };
    await expect(sides(ours, peer).run('ttt', options(['vlm']))).rejects.toThrow('losses');
  });

  it('stops both sides when one of them fails', async () => {
    const peer: Answers = {
      load: () => {
        throw new Error('the peer: out of memory');
      },
    };
    await expect(sides(ours, peer).run('ttt', options(['vlm']))).rejects.toThrow('out of memory');
  });
});

describe('prefill', () => {
  const answers = (seconds: number, tokens: number, sample: number[]): Answers => ({
    read: { tokens },
    prefill: { seconds, sample },
    peak: { mb: 10 },
  });

  it('gives a complete result with the difference of hidden states', async () => {
    const both = sides(answers(0.1, 1505, [1, -8.002]), answers(0.3, 1505, [1, -8]));
    const results = await both.run('prefill', options(['qwen2_5_vl']));
    complete(results);
    expect(results).toMatchObject([{ suite: 'prefill', shape: 'qwen2_5_vl', tokens: 1505 }]);
    expect(results[0]!.ratio).toBeCloseTo(3, 9);
    expect(results[0]!['hidden_difference']).toBeCloseTo(0.00025, 9);
  });

  it('refuses sides that read different tokens or compute different states', async () => {
    const tokens = sides(answers(1, 1504, [1]), answers(1, 1505, [1]));
    await expect(tokens.run('prefill', options(['qwen2_5_vl']))).rejects.toThrow(
      'prefill qwen2_5_vl: expected 1505 tokens, as transformers has, received 1504',
    );
    for (const sample of [[1, -7.9], [1], [1, NaN]]) {
      const states = sides(answers(1, 9, sample), answers(1, 9, [1, -8]));
      await expect(states.run('prefill', options(['qwen2_5_vl']))).rejects.toThrow('last hidden state');
      expect(states.count('eyas', { do: 'prefill' })).toBe(1);
    }
  });
});

describe('prefill of a decoder with random weights', () => {
  const answers = (seconds: number, finite = true): Answers => ({
    prefill: { seconds, finite },
    peak: { mb: 10 },
  });

  it('is timed, with the same sizes for both sides', async () => {
    const { run, log } = sides(answers(0.1), answers(0.2));
    const results = await run('prefill', options(['7b'], 'bfloat16'));
    complete(results);
    expect(results).toMatchObject([
      { suite: 'prefill', shape: '7b', dtype: 'bfloat16', ratio: 2, tokens: 4096 },
    ]);
    const [ours, theirs] = log.filter(({ request }) => request.do === 'load').map(({ request }) => request);
    expect(ours).toEqual(theirs);
    expect(ours).toMatchObject({ tokens: 4096, config: { hidden_size: 3584, num_hidden_layers: 28 } });
  });

  it('refuses states that are not finite', async () => {
    await expect(sides(answers(1), answers(1, false)).run('prefill', options(['7b']))).rejects.toThrow(
      'prefill 7b: expected finite states',
    );
  });
});

describe('preprocess', () => {
  it('is compared with both processors of transformers at every size', async () => {
    const peer: Answers = { preprocess: ({ pillow }) => ({ seconds: pillow ? 0.06 : 0.02 }) };
    const { run, log } = sides({ preprocess: { seconds: 0.04 } }, peer);
    const results = await run('preprocess', options(['640x480', '1280x960']));
    complete(results);
    expect(results.map(({ shape, peer, ratio }) => [shape, peer, ratio])).toEqual([
      ['640x480', 'transformers, torchvision', 0.5],
      ['640x480', 'transformers, Pillow', 1.5],
      ['1280x960', 'transformers, torchvision', 0.5],
      ['1280x960', 'transformers, Pillow', 1.5],
    ]);
    expect(results[0]!['eyas_images_per_second']).toBeCloseTo(200, 6);
    const drawn = log.filter(({ request }) => request.do === 'draw').map(({ request }) => request);
    expect(drawn).toMatchObject([
      { width: 640, height: 480 },
      { width: 1280, height: 960 },
    ]);
  });
});

describe('end-to-end', () => {
  const answers = (seconds: number, losses: number[]): Answers => {
    const left = [...losses];
    return {
      read: { tokens: 1600, loss_mask: [0, 1, 1] },
      train: () => ({ seconds, step_loss: [left.length > 1 ? left.shift()! : left[0]!] }),
      peak: { mb: 10 },
    };
  };

  it('gives a complete result after three equal steps', async () => {
    const { run, count } = sides(answers(1, [4, 4, 3]), answers(2, [4, 4, 3.001]));
    const results = await run('end-to-end', options(['qwen2_5_vl']));
    complete(results);
    expect(results).toMatchObject([{ suite: 'end-to-end', ratio: 2, tokens: 1600, supervised: 2 }]);
    expect(count('peer', { do: 'train' })).toBe(3 + 3);
  });

  it('refuses sides whose updates lead elsewhere', async () => {
    const { run, count } = sides(answers(1, [4, 4, 3]), answers(2, [4, 4, 3.1]));
    await expect(run('end-to-end', options(['qwen2_5_vl']))).rejects.toThrow(
      'end-to-end qwen2_5_vl float32, losses of three steps',
    );
    expect(count('peer', { do: 'train' })).toBe(3);
  });
});

describe('decode', () => {
  const ours = (fast: number[]): Answers => ({
    generate: ({ chain_length }) =>
      chain_length
        ? { seconds: 0.02, ids: fast, rounds: 2, accepted: 3 }
        : { seconds: 0.04, ids: [1, 2, 3, 4, 5] },
  });
  const theirs: Answers = { generate: { seconds: 0.1, ids: [1, 2, 3, 4, 6] } };

  it('compares plain decoding with transformers and speculative decoding with plain', async () => {
    const { run } = sides(ours([1, 2, 3, 4, 5]), theirs);
    const results = await run('decode', { repeat: 2 });
    complete(results);
    const [plain, fast] = results;
    expect(plain).toMatchObject({ shape: 'plain', same_answers: '0 of 12' });
    // Four tokens follow the first of each answer.
    expect(plain!.eyas_ms).toBeCloseTo(10, 9);
    expect(plain!.ratio).toBeCloseTo(2.5, 9);
    expect(fast).toMatchObject({ shape: 'speculative', accept_length: 2.5, same_answers: '12 of 12' });
    expect(fast!.ratio).toBeCloseTo(2, 9);
  });

  it('refuses a draft that changes the text', async () => {
    await expect(sides(ours([1, 2, 3, 4, 6]), theirs).run('decode', { repeat: 1 })).rejects.toThrow(
      'decode: expected the same text with and without a draft',
    );
  });
});
