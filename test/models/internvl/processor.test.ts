import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blockOrder } from '../../../lib/models/internvl/vision.js';
import type { TiledFeature } from '../../../lib/models/internvl/feature.js';
import { sampleFrames } from '../../../lib/models/internvl/media.js';
import { InternVLProcessor } from '../../../lib/models/internvl/processor.js';
import { chooseTiles } from '../../../lib/models/internvl/tiling.js';
import type { ConversationRecord } from '../../../lib/models/target.js';
import { temporary } from '../../helpers/tiny.js';
import { clipOptions, expectedValues, fixtures, modelDir, record } from './fixtures.js';

interface Plans {
  tiles: [width: number, height: number, side: number, most: number, columns: number, rows: number][];
  frames: [count: number, taken: number, transformers5: number[], engines: number[]][];
}

const plans = JSON.parse(readFileSync(join(fixtures, 'plans.json'), 'utf8')) as Plans;

let scratch: string;
let remove: () => void;
let dir: string;
let original: string;

beforeAll(() => {
  ({ dir: scratch, remove } = temporary());
  dir = modelDir(scratch, 'qwen2');
  original = modelDir(scratch, 'original');
});
afterAll(() => {
  remove();
});

const picture = { type: 'image', source: { path: join(fixtures, 'wide.png') } } as const;
const userSays = (...content: ConversationRecord['messages'][number]['content'][]): ConversationRecord => ({
  id: 'r',
  where: 'data.jsonl:3',
  messages: content.map((said) => ({ role: 'user', content: said })),
});

describe('tiles', () => {
  it('are chosen as transformers does', () => {
    for (const [width, height, side, maxTiles, columns, rows] of plans.tiles) {
      const chosen = chooseTiles({ width, height }, side, { minTiles: 1, maxTiles, thumbnail: true });
      expect(chosen, `${width}×${height}`).toEqual({ columns, rows });
    }
  });

  it.each([
    [64, 64, 1, 1],
    [66, 66, 2, 2],
  ])('of a picture of %i×%i are more only if it has over half of their area', (width, height, columns, rows) => {
    const side = 46; // half of four tiles: 65.05 pixels a side
    expect(chooseTiles({ width, height }, side, { minTiles: 1, maxTiles: 4, thumbnail: true })).toEqual({ columns, rows });
  });

  // Rows of the fixtures are in the order of transformers: channel, row, column of a tile.
  it('have the pixels of transformers', async () => {
    const processor = InternVLProcessor.create(dir, clipOptions);
    const { media } = await processor.process(record('pictures'));
    const side = 28;
    const patch = 7;
    const merge = 2;
    const order = blockOrder(side / patch, merge);
    const values: number[] = [];
    for (const { pixels, tiles } of media as TiledFeature[]) {
      for (let tile = 0; tile < tiles; tile++) {
        const plane = new Float32Array(3 * side * side);
        order.forEach((place, row) => {
          for (let i = 0; i < 3 * patch * patch; i++) {
            const channel = Math.floor(i / patch ** 2);
            const y = Math.floor(place / (side / patch)) * patch + Math.floor((i % patch ** 2) / patch);
            const x = (place % (side / patch)) * patch + (i % patch);
            plane[(channel * side + y) * side + x] = pixels[tile * plane.length + row * 3 * patch ** 2 + i]!;
          }
        });
        values.push(...plane);
      }
    }
    const { pixels } = expectedValues('qwen2', 'pictures');
    const step = Math.floor(values.length / 64);
    pixels.forEach((value, i) => {
      expect(Math.abs(values[i * step]! - value)).toBeLessThan(1e-5);
    });
  });

  it('are followed by the whole picture where there are several', async () => {
    const processor = InternVLProcessor.create(dir, clipOptions);
    const { media } = await processor.process(record('pictures'));
    // 75×40: two tiles; 20×20: one; 31×90: three.
    expect(media.map(({ tiles }) => tiles)).toEqual([3, 1, 4]);
    expect(media.map(({ tokens }) => tokens)).toEqual([12, 4, 16]);
  });
});

describe('frames of clips', () => {
  const settings = { minFrames: 1, maxFrames: Infinity };

  it('are taken as transformers and as the engines do', () => {
    for (const [frames, numFrames, transformers5, engines] of plans.frames) {
      const info = { frames, fps: 24 };
      const name = `${numFrames} of ${frames}`;
      expect(sampleFrames(info, { ...settings, numFrames }, 'transformers5'), name).toEqual(transformers5);
      expect(sampleFrames(info, { ...settings, numFrames }, 'engines'), name).toEqual(engines);
    }
  });

  it('are as many as fps gives, within bounds', () => {
    const info = { frames: 100, fps: 25 };
    expect(sampleFrames(info, { ...settings, fps: 2 }, 'engines')).toHaveLength(8);
    expect(sampleFrames(info, { ...settings, fps: 2, maxFrames: 5 }, 'engines')).toHaveLength(5);
    expect(sampleFrames(info, { ...settings, fps: 0.1 }, 'transformers5')).toEqual([50]);
  });

  it('repeat where the engines ask for more than there are', async () => {
    const engines = InternVLProcessor.create(dir);
    const { media } = await engines.process(record('clip'));
    const clip = media[1] as TiledFeature;
    expect(clip.tiles).toBe(32);
    const frame = clip.pixels.length / clip.tiles;
    expect(clip.pixels.slice(0, frame)).toEqual(clip.pixels.slice(frame, 2 * frame));
    expect(clip.pixels.slice(0, frame)).not.toEqual(clip.pixels.slice(-frame));
  });
});

describe('prompts', () => {
  it('are the same where the template takes text only', async () => {
    const [one, two] = await Promise.all(
      [dir, original].map((model) => InternVLProcessor.create(model, clipOptions).process(record('clip'))),
    );
    expect(two!.inputIds).toEqual(one!.inputIds);
    expect(two!.lossMask).toEqual(one!.lossMask);
  });

  it("are those of OpenGVLab's conversation where there is no template", async () => {
    const bare = modelDir(scratch, 'original', 'bare');
    rmSync(join(bare, 'chat_template.jinja'));
    const said: ConversationRecord = {
      id: 'r',
      where: 'data.jsonl:3',
      messages: [
        { role: 'user', content: [picture, { type: 'text', text: 'What?' }] },
        { role: 'assistant', content: 'A wall.' },
      ],
    };
    const processor = InternVLProcessor.create(bare);
    const { inputIds, lossMask } = await processor.process(said);
    const image = `<img>${'<IMG_CONTEXT>'.repeat(12)}</img>`;
    expect(processor.decode(inputIds)).toMatch(
      new RegExp(
        '^<\\|im_start\\|>system\\n你是书生·万象，英文名是InternVL，.*。<\\|im_end\\|>\\n' +
          `<\\|im_start\\|>user\\n${image}\\nWhat\\?<\\|im_end\\|>\\n` +
          '<\\|im_start\\|>assistant\\nA wall\\.<\\|im_end\\|>\\n$',
      ),
    );
    expect(processor.decode(inputIds.filter((_, i) => lossMask[i] === 1))).toBe('A wall.<|im_end|>');
    const messages = [{ role: 'system', content: 'Be brief.' }, ...said.messages];
    const brief = await processor.process({ ...said, messages });
    expect(processor.decode(brief.inputIds)).toMatch(/^<\|im_start\|>system\nBe brief\.<\|im_end\|>\n<\|im_start\|>user/);
  });

  it('name every frame on a line', async () => {
    const processor = InternVLProcessor.create(dir, { ...clipOptions, maxFrames: 2 });
    const { inputIds } = await processor.process(record('clip'));
    const frame = `<img>${'<IMG_CONTEXT>'.repeat(4)}</img>`;
    expect(processor.decode(inputIds)).toContain(`user\n${frame}\nFrame1: ${frame}\nFrame2: ${frame}\nWhat is this?`);
  });
});

describe('process refuses', () => {
  it.each([
    ['a context token in text', userSays('What is <IMG_CONTEXT>?'), 'text contains the media placeholder <IMG_CONTEXT>'],
    ['the start of an image in text', userSays([picture, { type: 'text', text: 'a <img> b' }]), 'placeholder <img>'],
    ['sound', userSays([{ type: 'audio', source: { path: 'a.wav' } }]), 'expected image or video, received audio'],
    ['a broken picture', userSays([{ type: 'image', source: { path: join(fixtures, 'cases.json') } }]), 'cases.json'],
    [
      'a rate that is no rate',
      userSays([{ type: 'video', source: { path: join(fixtures, 'clip.mp4') }, fps: -1 }]),
      'expected a positive fps, received -1',
    ],
  ])('%s', async (_, given, message) => {
    const processor = InternVLProcessor.create(dir, clipOptions);
    await expect(processor.process(given, { addGenerationPrompt: true })).rejects.toThrow(message);
    await expect(processor.process(given, { addGenerationPrompt: true })).rejects.toThrow('data.jsonl:3');
  });

  it('prompts beyond the length to which dynamic rope scaling is the plain one', async () => {
    const short = modelDir(scratch, 'original', 'short', {
      'config.json': (config) => {
        config['llm_config']!['max_position_embeddings'] = 30;
      },
    });
    await expect(InternVLProcessor.create(short).process(record('pictures'))).rejects.toThrow(
      /data\.jsonl:3: expected at most max_position_embeddings 30 tokens with dynamic rope scaling, received \d+/,
    );
  });
});

describe('settings', () => {
  const change = (name: string, edit: (image: Record<string, unknown>) => void): string =>
    modelDir(scratch, 'qwen2', name, {
      'processor_config.json': (json) => {
        edit(json['image_processor']!);
      },
    });

  it('refuse tiles of another size than the tower takes', () => {
    const other = change('size', (image) => {
      image['size'] = { height: 56, width: 56 };
    });
    expect(() => InternVLProcessor.create(other)).toThrow(
      /processor_config\.json: image_processor\.size: expected vision_config\.image_size 28 a side, received 56×56/,
    );
  });

  it('refuse fewer tiles at most than at least', () => {
    const other = change('tiles', (image) => {
      image['min_patches'] = 9;
    });
    expect(() => InternVLProcessor.create(other)).toThrow('received 9 to 6');
  });

  it('read the tiling of the original layout from its config', () => {
    expect(InternVLProcessor.create(original).settings.image).toMatchObject({ minTiles: 1, maxTiles: 6, thumbnail: true });
    const fixed = modelDir(scratch, 'original', 'fixed', {
      'config.json': (config) => {
        Object.assign(config, { dynamic_image_size: false });
      },
    });
    expect(InternVLProcessor.create(fixed).settings.image).toMatchObject({ minTiles: 1, maxTiles: 1 });
  });
});
