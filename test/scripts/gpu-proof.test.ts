import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { temporary } from '../helpers/tiny.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const main = join(root, 'scripts', 'gpu-proof', 'main.mjs');
const { dir, remove } = temporary();
afterAll(remove);

interface Report {
  parity_failures: number;
  errors: Record<string, string>;
  operations: { compared: number; failed: object[] };
  attention_forward_share: number;
  training: { ok: boolean; lossless: boolean; float32: { largest_difference: number } };
}

/** The newest report of a rehearsal on kernels that were compiled for the CPU. */
function rehearse(
  name: string,
  ...options: string[]
): { report: Report; table: string; code: number | null } {
  const out = join(dir, name);
  const { status } = spawnSync(process.execPath, [main, '--rehearse', '--out', out, ...options], {
    cwd: root,
  });
  const files = readdirSync(out).sort();
  expect(files).toEqual([
    expect.stringMatching(/^\d{4}-\d\d-\d\d-emulated\.json$/),
    expect.stringMatching(/\.md$/),
  ]);
  const [report, table] = files.map((file) => readFileSync(join(out, file), 'utf8'));
  return { report: JSON.parse(report!) as Report, table: table!, code: status };
}

describe.runIf(existsSync(join(root, 'build', 'emulated')))(
  'the proof of the CUDA backend, rehearsed',
  () => {
    it('compares every operation with the CPU', () => {
      const { report, table, code } = rehearse('operations', '--stages', 'operations,attention');
      expect(report.operations.failed).toEqual([]);
      expect(report.operations.compared).toBeGreaterThan(100);
      expect(report.parity_failures).toBe(0);
      expect(report.attention_forward_share).toBeGreaterThan(0);
      expect(report.errors).toEqual({});
      expect(code).toBe(0);
      expect(table).toContain('No number counts'.toLowerCase());
      expect(table).toContain('| tests on the GPU | not measured |');
    });

    it('trains the embedded default on both devices', { timeout: 300_000 }, () => {
      const { report, table, code } = rehearse('training', '--stages', 'training');
      expect(report.errors).toEqual({});
      expect(report.training).toMatchObject({ ok: true, lossless: true });
      expect(report.training.float32.largest_difference).toBeLessThan(1e-5);
      expect(table).toContain('lossless: true');
      expect(code).toBe(0);
    });

    it('keeps what was measured when the time is up, and fails', () => {
      const { report, table, code } = rehearse('late', '--stages', 'operations', '--minutes', '0.0001');
      expect(report.errors).toEqual({ operations: expect.stringContaining('no time was left') as string });
      expect(table).toContain('- operations: ');
      expect(code).toBe(1);
    });
  },
);

describe('operations that differ', () => {
  const difference = (expected: string, received: string): number => {
    const script = `
      import { difference } from ${JSON.stringify(join(root, 'scripts', 'gpu-proof', 'operations.mjs'))};
      console.log(difference(${expected}, ${received}));`;
    return Number(
      execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: root, encoding: 'utf8' }),
    );
  };

  it.each([
    ['Float32Array.of(1, -4)', 'Float32Array.of(1, -3)', 0.25],
    ['Float32Array.of(NaN, 1)', 'Float32Array.of(NaN, 1)', 0],
    ['Float32Array.of(NaN, 1)', 'Float32Array.of(0, 1)', Infinity],
    ['Float32Array.of(1)', 'Float32Array.of(1, 2)', Infinity],
    ['Int32Array.of(1, 2, 3, 4)', 'Int32Array.of(1, 2, 3, 5)', 0.25],
  ])('%s, %s: %d', (expected, received, by) => {
    expect(difference(expected, received)).toBe(by);
  });
});

describe('scripts/gpu-proof.sh', () => {
  const script = join(root, 'scripts', 'gpu-proof.sh');
  it('refuses a bundle that is not there', () => {
    const { status, stderr } = spawnSync('bash', [script, 'nowhere.tar.xz'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([1, 'gpu-proof: expected a bundle, received no file nowhere.tar.xz\n']);
  });
});
