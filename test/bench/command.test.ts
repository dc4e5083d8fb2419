import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDist } from '../helpers/dist.js';
import { benchFile, helperFile, resultFields, type Report } from './helpers/modules.js';

let folder: string;
beforeAll(() => {
  buildDist();
  folder = mkdtempSync(join(tmpdir(), 'eyas-bench-command-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function command(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [benchFile('main.mjs'), ...args], {
    encoding: 'utf8',
    timeout: 60_000,
    // Nothing is found here: where an option is not refused, no environment is made for the peer.
    env: { PATH: folder, XDG_CACHE_HOME: join(folder, 'cache') },
  });
  return { code: status, stdout, stderr };
}

/** An interpreter that has every package and runs eyas instead of the peer, its losses multiplied. */
function interpreter(factor: number): string {
  const path = join(folder, `python-${factor}`);
  const peer = `exec "${process.execPath}" "${helperFile('peer.mjs')}" ${factor}`;
  writeFileSync(path, `#!/bin/sh\nif [ "$1" = -c ]; then exit 0; fi\n${peer}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('options', () => {
  const refusals: [string, string[], string][] = [
    ['no suite', [], 'expected one suite, received 0'],
    ['two suites as two words', ['ttt', 'prefill'], 'expected one suite, received 2'],
    [
      'an unknown suite',
      ['tttt'],
      'suite: expected ttt, prefill, preprocess, decode, end-to-end, received tttt',
    ],
    [
      'an unknown suite of a list',
      ['ttt,draft'],
      'suite: expected ttt, prefill, preprocess, decode, end-to-end, received draft',
    ],
    [
      'an unknown shape',
      ['ttt', '--shapes', 'vlm,huge'],
      '--shapes of ttt: expected vlm, chat, long, wide, 7b, tiny, received huge',
    ],
    [
      'no shape',
      ['ttt', '--shapes', ''],
      '--shapes of ttt: expected vlm, chat, long, wide, 7b, tiny, received \n',
    ],
    [
      'a shape that one of the suites lacks',
      ['ttt,prefill', '--shapes', 'vlm'],
      '--shapes of prefill: expected qwen2_5_vl, qwen3_vl_moe, 7b, tiny, received vlm',
    ],
    [
      'an unknown dtype',
      ['ttt', '--dtypes', 'float16'],
      '--dtypes: expected float32, bfloat16, received float16',
    ],
    ['an unknown device', ['ttt', '--device', 'tpu'], '--device: expected cpu, cuda, received tpu'],
    [
      'a suite that has no GPU side',
      ['decode', '--device', 'cuda'],
      '--device cuda: expected ttt, prefill, received decode',
    ],
    [
      'a GPU where there is none',
      ['ttt', '--device', 'cuda'],
      '--device cuda: expected a GPU, received none: ',
    ],
    ['zero runs', ['ttt', '--repeat', '0'], '--repeat: expected a whole number from 1 on, received 0'],
    ['half a run', ['ttt', '--repeat', '1.5'], '--repeat: expected a whole number from 1 on, received 1.5'],
    [
      'runs that are no number',
      ['ttt', '--repeat', 'many'],
      '--repeat: expected a whole number from 1 on, received many',
    ],
    [
      'a negative number of runs',
      ['ttt', '--repeat=-2'],
      '--repeat: expected a whole number from 1 on, received -2',
    ],
    ['an unknown option', ['ttt', '--shape', 'tiny'], "Unknown option '--shape'"],
    ['an option without its value', ['ttt', '--out'], "Option '--out <value>' argument missing"],
    [
      'an interpreter that does not exist',
      ['ttt', '--python', '/nonexistent/python'],
      '--python /nonexistent/python: expected torch==',
    ],
    ['an interpreter without the packages', ['ttt', '--python', 'bare-python'], 'received exit code 1'],
  ];
  it.each(refusals)('refuse %s', (_what, args, message) => {
    writeFileSync(join(folder, 'bare-python'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    const { code, stdout, stderr } = command(...args);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^bench: /);
    expect(stderr).toContain(message);
    expect(stderr, 'a stack').not.toMatch(/^\s+at /m);
  });

  it('are listed by --help', () => {
    const { code, stdout } = command('--help');
    expect(code).toBe(0);
    for (const word of ['ttt', 'end-to-end', '--json', '--shapes', '--repeat']) {
      expect(stdout).toContain(word);
    }
  });
});

describe('a comparison of eyas with itself', () => {
  it('prints one JSON object with all fields, and writes it', () => {
    const out = join(folder, 'results');
    const { code, stdout, stderr } = command(
      ...['ttt', '--shapes', 'tiny', '--dtypes', 'float32', '--repeat', '2', '--json'],
      ...['--python', interpreter(1), '--out', out],
    );
    expect(code, stderr).toBe(0);
    const report = JSON.parse(stdout) as Report;
    expect(Object.keys(report).sort()).toEqual(['device', 'isa', 'results', 'threads']);
    expect(report).toMatchObject({
      device: expect.stringMatching(/, \d+ cores$/) as string,
      isa: expect.any(String) as string,
      threads: expect.any(Number) as number,
    });
    expect(report.results).toHaveLength(1);
    const [result] = report.results;
    for (const field of resultFields) expect(result, field).toHaveProperty(field);
    expect(result).toMatchObject({
      suite: 'ttt',
      shape: 'tiny',
      dtype: 'float32',
      max_loss_difference: 0,
      runs: 2,
    });
    for (const field of ['eyas_ms', 'peer_ms', 'gflop_needed', 'ceiling_share', 'eyas_peak_mb']) {
      expect(result![field], field).toBeGreaterThan(0);
    }
    expect(result!.ratio).toBeCloseTo(result!.peer_ms / result!.eyas_ms, 9);
    const files = readdirSync(out).sort();
    expect(files).toEqual([expect.stringMatching(/-cpu-ttt\.json$/), expect.stringMatching(/-cpu-ttt\.md$/)]);
    expect(JSON.parse(readFileSync(join(out, files[0]!), 'utf8'))).toEqual(report);
    expect(readFileSync(join(out, files[1]!), 'utf8')).toContain('| ttt | tiny | float32 |');
  });

  it('prints a table, and writes nothing where that is asked', () => {
    const { code, stdout, stderr } = command(
      ...['ttt', '--shapes', 'tiny', '--dtypes', 'float32', '--repeat', '1'],
      ...['--python', interpreter(1), '--out', 'none'],
    );
    expect(code, stderr).toBe(0);
    const [heading, header, row, ...rest] = stdout.trimEnd().split('\n');
    expect(heading).toContain(' threads, ');
    expect(header).toMatch(/^suite\s+shape\s+dtype\s+peer/);
    expect(row).toMatch(/^ttt\s+tiny\s+float32\s+dense PyTorch/);
    expect(rest).toEqual([]);
    expect(stderr).not.toContain('.json');
  });

  it('is refused, without a result, when the losses of the other side differ', () => {
    const out = join(folder, 'none');
    const { code, stdout, stderr } = command(
      ...['ttt', '--shapes', 'tiny', '--dtypes', 'float32', '--json'],
      ...['--python', interpreter(1.001), '--out', out],
    );
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(
      /bench: ttt tiny float32, losses: expected eyas and its peer to differ by at most 0\.0001, received 0\.00099/,
    );
    expect(readdirSync(folder)).not.toContain('none');
  });

  it('fails with what the other side says when it ends', () => {
    const path = join(folder, 'python-broken');
    const body = 'if [ "$1" = -c ]; then exit 0; fi\necho "MemoryError: no room" >&2\nexit 9\n';
    writeFileSync(path, `#!/bin/sh\n${body}`);
    chmodSync(path, 0o755);
    const { code, stdout, stderr } = command(
      ...['ttt', '--shapes', 'tiny', '--dtypes', 'float32', '--json', '--python', path, '--out', 'none'],
    );
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/bench: the peer ended at .*: exit code 9\nMemoryError: no room/);
  });
});
