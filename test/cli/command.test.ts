import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { writeSafetensors } from '../../lib/hub/safetensors-writer.js';
import { configKeys, parseConfig } from '../../lib/training/config.js';
import { eyas } from '../helpers/command.js';
import { buildDist, root } from '../helpers/dist.js';

const dir = mkdtempSync(join(tmpdir(), 'eyas-cli-'));
beforeAll(buildDist);
afterAll(() => {
  rmSync(dir, { recursive: true });
});

const commands = ['train', 'eval', 'export', 'verify', 'features', 'generate', 'info'];

function file(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

describe('eyas', () => {
  it('lists its commands and prints its version', () => {
    const { code, stdout, stderr } = eyas(['--help']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(eyas(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each(commands)('%s --help shows an example', (command) => {
    const { code, stdout } = eyas([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Usage: eyas ${command} `));
    expect(stdout).toMatch(new RegExp(`Example:\n  \\$ eyas ${command}`));
  });

  it('documents every config key in train --help', () => {
    const { stdout } = eyas(['train', '--help']);
    for (const key of configKeys()) expect(stdout).toContain(`\n  ${key} `);
  });

  it.each([
    [['fly'], "unknown command 'fly'"],
    [['trian'], 'Did you mean train?'],
    [['info', '--fast'], "unknown option '--fast'"],
    [['verify'], "required option '--target <model>' not specified"],
    [['verify', '--target', 'm'], "missing required argument 'draft'"],
    [
      ['features', '--model', 'm', '--data', 'd', '--out', 'o', '--layers', 'some'],
      'Allowed choices are aux, all.',
    ],
    [
      ['eval', '--model', 'm', '--draft', 'd', '--data', 'f', '--chain-length', '0'],
      'Expected a positive integer.',
    ],
    [['train'], 'expected a config file, or --model, --data and --output'],
  ])('%j is a mistake of usage', (args, message) => {
    const { code, stdout, stderr } = eyas(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^eyas: [^\n]+\n$/);
    expect(stderr).toContain(message);
  });

  it('prints its help when it is told nothing', () => {
    const { code, stderr } = eyas([]);
    expect(code).toBe(2);
    expect(stderr).toContain('Usage: eyas');
  });
});

describe('eyas train', () => {
  const config = 'model: target\noutput: out\ndata:\n  train: [a.jsonl]\n';

  it('refuses an unknown key with file, line and column', () => {
    const path = file('unknown.yaml', `${config}optimizer:\n  learnRate: 1\n`);
    expect(eyas(['train', path])).toEqual({
      code: 2,
      stdout: '',
      stderr: `eyas: ${path}:6:3 optimizer.learnRate: unknown key; did you mean optimizer.learningRate?\n`,
    });
  });

  it('refuses a bad override by its name', () => {
    const path = file('override.yaml', config);
    expect(eyas(['train', path, 'training.epochs=none'])).toEqual({
      code: 2,
      stdout: '',
      stderr: `eyas: override 'training.epochs=none' training.epochs: expected number, received "none"\n`,
    });
  });

  it('prints the whole config: file, then shortcuts, then overrides', () => {
    const path = file('print.yaml', `${config}training: { epochs: 3, seed: 5 }\n`);
    const args = ['--output', 'elsewhere', '--set', 'training.seed=7', '--print-config'];
    const { code, stdout } = eyas(['train', path, 'training.epochs=4', ...args]);
    expect(code).toBe(0);
    expect(parse(stdout)).toEqual(
      parseConfig({
        model: 'target',
        output: 'elsewhere',
        data: { train: 'a.jsonl' },
        training: { epochs: 4, seed: 7 },
      }),
    );
  });

  it('needs no file', () => {
    const args = ['train', 'ttt.steps=3', '--model', 'm', '--data', 'a', '--data', 'b', '--eval', 'c'];
    const { code, stdout } = eyas([...args, '--output', 'o', '--print-config']);
    expect(code).toBe(0);
    expect(parse(stdout)).toMatchObject({ data: { train: ['a', 'b'], eval: ['c'] }, ttt: { steps: 3 } });
  });

  it('says which file is missing, without a stack', () => {
    const path = join(dir, 'none.yaml');
    expect(eyas(['train', path])).toEqual({
      code: 1,
      stdout: '',
      stderr: `eyas: ${path}: no such file or directory\n`,
    });
    expect(eyas(['train', dir])).toMatchObject({
      code: 1,
      stderr: `eyas: ${dir}: expected a file, received a directory\n`,
    });
    const { stderr } = eyas(['train', path], { EYAS_DEBUG: '1' });
    expect(stderr).toMatch(/^eyas: .*\nError: ENOENT.*\n {4}at /);
  });

  it('reports what fails in the job like any other error', () => {
    const model = join(dir, 'no-model');
    const { code, stdout, stderr } = eyas(['train', '--model', model, '--data', 'a', '--output', dir]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^eyas: .*no-model/);
    expect(stderr).not.toMatch(/^ {4}at /m);
  });
});

describe('eyas info', () => {
  it('describes the machine', () => {
    const { code, stdout } = eyas(['info']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^eyas +\d/);
    expect(stdout).toMatch(/^isa +(avx512_bf16|avx512|avx2|generic)$/m);
    expect(stdout).toMatch(/^threads +\d+$/m);
    expect(stdout).toMatch(/^oneDNN +\d+\.\d+/m);
  });

  it('describes a target', () => {
    const { code, stdout } = eyas(['info', 'models/tiny-qwen2.5-vl', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      kind: 'target',
      architecture: 'Qwen2_5_VLForConditionalGeneration',
      family: 'Qwen2.5-VL',
      modalities: 'text, image, video',
      layers: '8',
      positions: expect.stringMatching(/^3 axes, mrope sections \d+, \d+, \d+, base \d+$/) as string,
      'sglang: serves EAGLE-3': 'yes',
      'sglang: auxLayerIds': '[2,4,5]',
      'sglang: multimodalEmbedding': 'merged',
      'sglang: positions': 'mrope',
      'vllm: multimodalEmbedding': 'placeholder',
      'vllm: positions': 'index',
      tensors: expect.stringContaining('(BF16') as string,
      parameters: expect.stringMatching(/^\d\.\d M$/) as string,
    });
  });

  it('lists the supported families at a target of another', () => {
    const model = join(dir, 'other');
    mkdirSync(model);
    writeFileSync(join(model, 'config.json'), JSON.stringify({ architectures: ['OtherModel'] }));
    const { code, stderr } = eyas(['info', model]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /other\/config\.json: architectures: expected one of .*LlamaForCausalLM.*received "OtherModel"/,
    );
  });

  it('describes a draft with its contract', () => {
    const draft = join(dir, 'draft');
    mkdirSync(draft);
    const config = { architectures: ['LlamaForCausalLMEagle3'], num_hidden_layers: 1, draft_vocab_size: 32 };
    writeFileSync(join(draft, 'config.json'), JSON.stringify(config));
    const contract = { engine: 'sglang', auxLayerIds: [2, 4, 5], positions: 'mrope' };
    writeFileSync(join(draft, 'eyas.json'), JSON.stringify({ contract }));
    const d2t = { d2t: { dtype: 'int64' as const, shape: [2], data: new BigInt64Array(2) } };
    writeSafetensors(join(draft, 'model.safetensors'), d2t);
    const { code, stdout } = eyas(['info', draft]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^kind +EAGLE-3 draft$/m);
    expect(stdout).toMatch(/^draft vocabulary +32$/m);
    expect(stdout).toMatch(/^contract: auxLayerIds +\[2,4,5\]$/m);
    expect(stdout).toMatch(/^contract: positions +mrope$/m);
  });

  it('says where it looked for a model that is not there', () => {
    const { code, stderr } = eyas(['info', join(dir, 'nothing')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^eyas: .*nothing/);
  });
});
