import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { configReference, parseConfig, type TrainConfigInput } from '../../lib/training/config.js';
import { loadConfig } from '../../lib/training/config-file.js';
import { ConfigError } from '../../lib/training/config-issues.js';

const dir = mkdtempSync(join(tmpdir(), 'eyas-config-'));
afterAll(() => {
  rmSync(dir, { recursive: true });
});

const minimal: TrainConfigInput = { model: 'm', output: 'o', data: { train: 'a.jsonl' } };

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error('expected a ConfigError');
}

let files = 0;
function yaml(text: string): string {
  const file = join(dir, `config-${files++}.yaml`);
  writeFileSync(file, text);
  return file;
}
const head = 'model: m\noutput: o\ndata:\n  train: a.jsonl\n';

describe('parseConfig', () => {
  it('fills in the training contract', () => {
    const config = parseConfig(minimal);
    expect(config.ttt).toEqual({
      steps: 7,
      decay: 0.8,
      mask: 'serving',
      normalization: 'tokens',
      outOfVocabulary: 'mask',
    });
    expect(config.optimizer).toEqual({
      learningRate: 1e-4,
      betas: [0.9, 0.95],
      eps: 1e-8,
      weightDecay: 0,
      gradClip: 0.5,
      schedule: 'cosine',
      warmupRatio: 0.015,
      minLearningRateRatio: 0.1,
    });
    expect(config.data.train).toEqual(['a.jsonl']);
    expect(config.draft.auxLayerIds).toBeUndefined();
  });

  it('names every issue with what was expected and what came', () => {
    const input = {
      ...minimal,
      model: 3,
      training: { epochs: 0, dtype: 'float16', seed: 1.5 },
      draft: { auxLayerIds: [] },
      ttt: { decay: 2 },
      data: {},
    };
    expect(
      messageOf(() => parseConfig(input))
        .split('\n')
        .sort(),
    ).toEqual([
      'data.train: required',
      'draft.auxLayerIds: expected at least 1 entries, received []',
      'model: expected string, received 3',
      'training.dtype: expected one of float32, bfloat16, received "float16"',
      'training.epochs: expected at least 1, received 0',
      'training.seed: expected an integer, received 1.5',
      'ttt.decay: expected at most 1, received 2',
    ]);
  });

  it('refuses combinations that contradict each other', () => {
    const both = { ...minimal, data: { train: 'a', eval: 'b', evalCount: 3 } };
    expect(messageOf(() => parseConfig(both))).toMatch(/^data\.eval: expected at most one of/);
    const unordered = { ...minimal, draft: { auxLayerIds: [4, 2, 6] } };
    expect(messageOf(() => parseConfig(unordered))).toBe(
      'draft.auxLayerIds: expected ascending ids, received [4, 2, 6]',
    );
    const pixels = { ...minimal, media: { minPixels: 10, maxPixels: 5 } };
    expect(messageOf(() => parseConfig(pixels))).toMatch(
      /^media\.minPixels: expected at most media\.maxPixels/,
    );
    const frames = { ...minimal, media: { minFrames: 10, maxFrames: 5 } };
    expect(messageOf(() => parseConfig(frames))).toMatch(
      /^media\.minFrames: expected at most media\.maxFrames/,
    );
  });

  it('documents every field', () => {
    const fields = configReference();
    expect(fields.filter((field) => field.description === '')).toEqual([]);
    expect(fields.filter((field) => field.required).map((field) => field.key)).toEqual([
      'model',
      'output',
      'data.train',
    ]);
    expect(fields.find((field) => field.key === 'optimizer.betas')).toMatchObject({
      type: '[number, number]',
      default: '[0.9,0.95]',
    });
    expect(fields.find((field) => field.key === 'ttt.mask')?.type).toBe('serving | specforge');
  });
});

describe('loadConfig', () => {
  it('is the same object as its YAML', () => {
    const file = yaml(`${head}optimizer:\n  learningRate: 2e-4\n  betas: [0.8, 0.9]\n`);
    expect(loadConfig(file)).toEqual(
      parseConfig({ ...minimal, optimizer: { learningRate: 2e-4, betas: [0.8, 0.9] } }),
    );
  });

  it('gives file, line and column of an unknown key and guesses what was meant', () => {
    const file = yaml(`${head}optimizer:\n  betas: [0.9, 0.95]\n  learning_rate: 1e-4\nepochs: 3\n`);
    expect(
      messageOf(() => loadConfig(file))
        .split('\n')
        .sort(),
    ).toEqual([
      `${file}:7:3 optimizer.learning_rate: unknown key; did you mean optimizer.learningRate?`,
      `${file}:8:1 epochs: unknown key; did you mean training.epochs?`,
    ]);
  });

  it('gives file, line and column of a wrong value, a missing group and broken YAML', () => {
    const wrong = yaml(`${head}training:\n  dtype:  half\n`);
    expect(messageOf(() => loadConfig(wrong))).toBe(
      `${wrong}:6:11 training.dtype: expected one of float32, bfloat16, received "half"`,
    );
    const entry = yaml('model: m\noutput: o\ndata: { train: [a.jsonl], eval: [b.jsonl, 3] }\n');
    expect(messageOf(() => loadConfig(entry))).toMatch(
      `${entry}:3:33 data.eval: expected a file name or a list`,
    );
    const missing = yaml('model: m\ndata:\n  eval: b\n');
    expect(
      messageOf(() => loadConfig(missing))
        .split('\n')
        .sort(),
    ).toEqual([`${missing}:1:1 output: required`, `${missing}:2:1 data.train: required`]);
    const broken = yaml('model: m\noutput: [o\n');
    expect(messageOf(() => loadConfig(broken))).toMatch(`${broken}:3:1 YAML: `);
    const twice = yaml(`${head}model: n\n`);
    expect(messageOf(() => loadConfig(twice))).toBe(`${twice}:5:1 YAML: Map keys must be unique`);
  });

  it('applies overrides over the file, the last one last', () => {
    const file = yaml(`${head}optimizer:\n  learningRate: 2e-4\n`);
    const config = loadConfig(file, [
      'optimizer.learningRate=3e-4',
      'optimizer.betas=[0.5, 0.6]',
      'training.epochs=3',
      'training.epochs=4',
      'data.train=[x, y]',
      'ttt={steps: 2}',
    ]);
    expect(config.optimizer).toMatchObject({ learningRate: 3e-4, betas: [0.5, 0.6] });
    expect(config.training.epochs).toBe(4);
    expect(config.data.train).toEqual(['x', 'y']);
    expect(config.ttt).toMatchObject({ steps: 2, decay: 0.8 });
    expect(loadConfig(file, ['optimizer.learningRate=']).optimizer.learningRate).toBe(1e-4);
    expect(loadConfig(undefined, ['model=m', 'output=o', 'data.train=a.jsonl'])).toEqual(
      parseConfig(minimal),
    );
  });

  it('names the override that is wrong', () => {
    const file = yaml(head);
    const attempt = (override: string) => messageOf(() => loadConfig(file, [override]));
    expect(attempt('training.epochs=many')).toBe(
      `override 'training.epochs=many' training.epochs: expected number, received "many"`,
    );
    expect(attempt('training.epoch=3')).toBe(
      `override 'training.epoch=3' training.epoch: unknown key; did you mean training.epochs?`,
    );
    expect(attempt('ttt={stops: 2}')).toBe(
      `override 'ttt={stops: 2}' ttt.stops: unknown key; did you mean ttt.steps?`,
    );
    expect(attempt('training.epochs')).toMatch('expected key.path=value');
    expect(attempt('data.train=[a')).toMatch(/^override 'data\.train=\[a' data\.train: /);
  });
});
