// The peers' interpreter: the one that was named, or an environment with pinned packages that is made once.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const packages = ['torch==2.13.0', 'transformers==5.18.0', 'safetensors', 'pillow'];
const torchvision = 'torchvision==0.28.0';

export async function findPython(named, say) {
  if (named) {
    const missing = missingIn(named);
    if (missing) throw new Error(`--python ${named}: expected ${packages.join(', ')}, received ${missing}`);
    return named;
  }
  const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'eyas', 'bench-python');
  const python = join(folder, 'bin', 'python');
  const ready = join(folder, 'ready');
  const pins = [...packages, torchvision].join('\n');
  if (existsSync(ready) && readFileSync(ready, 'utf8') === pins && !missingIn(python)) return python;
  say(`making a Python environment with ${packages.join(', ')} in ${folder}`);
  run('python3', ['-m', 'venv', folder]);
  run(python, ['-m', 'pip', 'install', '--quiet', ...packages]);
  // Its own operators may not load beside this torch; the image processors need none of them.
  run(python, ['-m', 'pip', 'install', '--quiet', '--no-deps', torchvision]);
  if (missingIn(python)) {
    const where =
      'import importlib.util as u; print(u.find_spec("torchvision").submodule_search_locations[0])';
    const site = spawnSync(python, ['-c', where], { encoding: 'utf8' }).stdout.trim();
    writeFileSync(join(site, '_meta_registrations.py'), '');
  }
  const missing = missingIn(python);
  if (missing) throw new Error(`${folder}: expected ${packages.join(', ')} to import, received ${missing}`);
  writeFileSync(ready, pins);
  return python;
}

/** What does not import, or nothing. */
function missingIn(python) {
  const { status, signal, stderr, error } = spawnSync(
    python,
    ['-c', 'import torch, safetensors, PIL, torchvision; from transformers import Qwen2VLImageProcessor'],
    { encoding: 'utf8' },
  );
  if (status === 0) return undefined;
  // It may fail and say nothing.
  return error?.message ?? (stderr.trim().split('\n').at(-1) || (signal ?? `exit code ${status}`));
}

function run(command, args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return;
  const why = error?.message ?? stderr.trim().slice(-1000);
  throw new Error(`${command} ${args.join(' ')} failed; give an interpreter by --python\n${why}`);
}
