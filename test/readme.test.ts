import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

it('the programmatic example of the README runs', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, example] = /```js\n([\s\S]*?)```/.exec(readme)!;
  // Inside the package, `eyas` means the package itself.
  const dir = join(root, 'runs', 'readme-example');
  mkdirSync(dir, { recursive: true });
  try {
    writeFileSync(join(dir, 'example.mjs'), example!);
    const printed = execFileSync(process.execPath, [join(dir, 'example.mjs')], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(printed).toMatch(/^accept length \d\.\d\d, lossless: true, ready to serve: true$/m);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
