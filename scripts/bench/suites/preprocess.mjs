// Pictures from JPEG files to pixel rows, eight at a time: eyas against both variants of transformers' processor.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { alternate } from '../harness/measure.mjs';

export const shapes = {
  '640x480': { width: 640, height: 480 },
  '1280x960': { width: 1280, height: 960 },
  '1920x1080': { width: 1920, height: 1080 },
};
export const defaultShapes = Object.keys(shapes);

const names = Array.from({ length: 8 }, (_, i) => `${i}.jpg`);
/** A batch takes milliseconds: more of them for the same certainty. */
const more = 4;

export async function* run({ names: sizes, repeat }, { eyas, peer, say }) {
  const folder = mkdtempSync(join(tmpdir(), 'eyas-bench-'));
  const [ours, theirs] = [eyas('target'), peer('target')];
  try {
    await theirs.ask({ do: 'make', folder, family: 'qwen2_5_vl' });
    await theirs.ask({ do: 'load', folder });
    await ours.ask({ do: 'load', folder });
    for (const shape of sizes) {
      await theirs.ask({ do: 'draw', folder, names, ...shapes[shape] });
      // torchvision's is what transformers takes where it is installed; Pillow's gives the same pixels as eyas.
      for (const pillow of [false, true]) {
        say(`preprocess ${shape}, against transformers with ${pillow ? 'Pillow' : 'torchvision'}`);
        const times = await alternate(
          () => ours.ask({ do: 'preprocess', names }),
          () => theirs.ask({ do: 'preprocess', names, pillow }),
          repeat * more,
        );
        yield {
          suite: 'preprocess',
          shape,
          dtype: 'float32',
          ...times,
          gflop_needed: null,
          ceiling_share: null,
          eyas_peak_mb: null,
          peer_peak_mb: null,
          max_loss_difference: null,
          images: names.length,
          eyas_images_per_second: (1000 * names.length) / times.eyas_ms,
          peer: `transformers, ${pillow ? 'Pillow' : 'torchvision'}`,
        };
      }
    }
  } finally {
    await ours.stop();
    await theirs.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
