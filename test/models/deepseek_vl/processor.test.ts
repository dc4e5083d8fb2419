import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PictureFeature } from '../../../lib/models/deepseek_vl/feature.js';
import { bilinearMatrix } from '../../../lib/models/deepseek_vl/interpolation.js';
import { DeepseekVLProcessor } from '../../../lib/models/deepseek_vl/processor.js';
import type { ContentPart, ConversationRecord } from '../../../lib/models/target.js';
import { temporary } from '../../helpers/tiny.js';
import { checkpoints, expectedValues, fixtures, modelDir, record, type Changes } from './fixtures.js';

const [bos, eos] = ['<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>'];

let scratch: string;
let remove: () => void;
const processors = new Map<string, DeepseekVLProcessor>();

beforeAll(() => {
  ({ dir: scratch, remove } = temporary());
  for (const checkpoint of checkpoints) {
    processors.set(checkpoint, new DeepseekVLProcessor(modelDir(scratch, checkpoint)));
  }
});
afterAll(() => {
  remove();
});

const picture: ContentPart = { type: 'image', source: { path: join(fixtures, 'wide.png') } };
const asks = (content: string | ContentPart[]): ConversationRecord => ({
  id: 'r',
  where: 'data.jsonl:3',
  messages: [{ role: 'user', content }],
});

/** What a record's loss counts, turn by turn. */
async function produced(processor: DeepseekVLProcessor, conversation: ConversationRecord): Promise<string[]> {
  const { inputIds, lossMask } = await processor.process(conversation);
  const turns: number[][] = [];
  inputIds.forEach((id, i) => {
    if (!lossMask[i]) return;
    if (!lossMask[i - 1]) turns.push([]);
    turns.at(-1)!.push(id);
  });
  return turns.map((ids) => processor.decode(ids));
}

describe('pixels', () => {
  it.each(checkpoints)('of %s are those of its processor in Python', async (checkpoint) => {
    const { media } = await processors.get(checkpoint)!.process(record('pictures'));
    const expected = expectedValues(checkpoint, 'pictures');
    const check = (key: 'pixels' | 'highResPixels') => {
      const values = (media as PictureFeature[]).flatMap((feature) => [...(feature[key] ?? [])]);
      const step = Math.floor(values.length / 96);
      expect(expected[key] === undefined).toBe(values.length === 0);
      expected[key]?.forEach((value, i) => {
        expect(Math.abs(values[i * step]! - value)).toBeLessThan(1e-5);
      });
    };
    check('pixels');
    check('highResPixels');
  });

  it('have the colour of the mean around the picture, cut off to a byte', async () => {
    const { media } = await processors.get('plain')!.process(asks([picture]));
    const [feature] = media as [PictureFeature];
    expect(feature.pixels[0]).toBeCloseTo((127 / 255 - 0.5) / 0.5, 6);
  });
});

describe('bilinearMatrix', () => {
  it('repeats the edge', () => {
    expect([...bilinearMatrix(2, 4, false)]).toEqual([1, 0, 0.75, 0.25, 0.25, 0.75, 0, 1]);
  });

  it('takes two pixels where it shrinks, and all with antialiasing', () => {
    expect([...bilinearMatrix(6, 2, false)]).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    const rows = [...bilinearMatrix(6, 2, true)];
    [2, 3, 2, 1, 0, 0, 0, 0, 1, 2, 3, 2].forEach((weight, i) => {
      expect(rows[i]).toBeCloseTo(weight / 8, 6);
    });
  });
});

describe.each(['plain', 'original'])('prompts of %s', (checkpoint) => {
  it('count what the assistant produces, from after the colon to the token that ends the turn', async () => {
    const answer = record('pictures').messages[1]!.content as string;
    const turns = await produced(processors.get(checkpoint)!, record('pictures'));
    expect(turns).toEqual([` ${answer}${eos}`, ` ${answer}${eos}`]);
  });

  it('begin with bos_token and hold text that is given as a string', async () => {
    const processor = processors.get(checkpoint)!;
    const sample = await processor.process(asks(' Count to three. '), { addGenerationPrompt: true });
    const text = processor.decode(sample.inputIds);
    expect(text.startsWith(bos)).toBe(true);
    expect(text.endsWith('\n\nUser: Count to three.\n\nAssistant:')).toBe(true);
    expect(sample.lossMask.every((counted) => counted === 0)).toBe(true);
  });

  it('end as the generation prompt of a record without its last answer does', async () => {
    const processor = processors.get(checkpoint)!;
    const whole = record('pictures');
    const asked = await processor.process({ ...whole, messages: whole.messages.slice(0, -1) }, { addGenerationPrompt: true });
    const { inputIds, lossMask } = await processor.process(whole);
    const start = lossMask.lastIndexOf(0) + 1;
    expect([...asked.inputIds]).toEqual([...inputIds.subarray(0, start)]);
  });

  it('refuse text that spells the placeholder, and other media', async () => {
    const processor = processors.get(checkpoint)!;
    await expect(processor.process(asks('see <image_placeholder>'))).rejects.toThrow(
      'data.jsonl:3: text contains the media placeholder <image_placeholder>',
    );
    await expect(processor.process(asks([{ ...picture, type: 'video' }]))).rejects.toThrow(
      'data.jsonl:3: expected image, received video, which DeepSeek-VL does not take',
    );
  });
});

describe('bos_token', () => {
  const beginsWith = async (name: string, changes: Changes): Promise<boolean> => {
    const processor = new DeepseekVLProcessor(modelDir(scratch, 'plain', name, changes));
    const { inputIds } = await processor.process(asks('Count!'));
    return processor.decode(inputIds).startsWith(bos);
  };

  it('is added as add_bos_token says, else as the post-processor does', async () => {
    const without: Changes[string] = (json) => {
      Object.assign(json, { post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false } });
    };
    const told = (value: boolean): Changes[string] => (json) => {
      Object.assign(json, { add_bos_token: value });
    };
    expect(await beginsWith('no-post-processor', { 'tokenizer.json': without })).toBe(false);
    expect(await beginsWith('told', { 'tokenizer.json': without, 'tokenizer_config.json': told(true) })).toBe(true);
    expect(await beginsWith('told-not', { 'tokenizer_config.json': told(false) })).toBe(false);
  });
});

describe('settings', () => {
  const load = (checkpoint: string, name: string, changes: Changes) => () =>
    new DeepseekVLProcessor(modelDir(scratch, checkpoint, name, changes));

  it('of another size than the tower are refused', () => {
    expect(
      load('hybrid', 'size', {
        'preprocessor_config.json': (json) => {
          Object.assign(json, { high_res_size: 50 });
        },
      }),
    ).toThrow("high_res_size: expected the 45 pixels of config.json's tower, received 50");
    expect(
      load('original', 'tokens', {
        'processor_config.json': (json) => {
          Object.assign(json, { num_image_tokens: 576 });
        },
      }),
    ).toThrow("num_image_tokens: expected the 16 patches of config.json's vision tower, received 576");
  });

  it('without means have the colour that each class has then', () => {
    const processor = load('hybrid', 'no-mean', {
      'preprocessor_config.json': (json) => {
        Object.assign(json, { image_mean: null, high_res_image_mean: null });
      },
    })();
    expect(processor.settings.image).toMatchObject({ background: [127, 127, 127], mean: [0.48145466, 0.4578275, 0.40821073] });
    expect(processor.settings.highRes!.background).toEqual([127, 127, 127]);
    const plain = load('plain', 'plain-no-mean', {
      'processor_config.json': (json) => {
        delete json['image_processor']!['image_mean'];
      },
    })();
    expect(plain.settings.image.background).toEqual([122, 116, 104]);
  });
});
