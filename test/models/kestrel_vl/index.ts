import type { Family } from '../../../lib/models/family.js';
import { loadConfig } from '../../../lib/models/qwen2_5_vl/config.js';
import { Qwen2_5VLProcessor } from '../../../lib/models/qwen2_5_vl/processor.js';
import { Qwen2_5VLTarget } from '../../../lib/models/qwen2_5_vl/target.js';
import type { VisualFeature } from '../../../lib/models/qwen_vl/visual-feature.js';

/** Qwen2.5-VL, but that a mark closes the tokens of every picture. */
class KestrelVLProcessor extends Qwen2_5VLProcessor {
  protected override expansions(media: readonly VisualFeature[]): Record<string, string[]> {
    const picture = this.token(this.config.imageTokenId);
    const expansions = super.expansions(media);
    return { ...expansions, [picture]: expansions[picture]!.map((tokens) => `${tokens}<|vision_pad|>`) };
  }
}

export const kestrelVL: Family = {
  name: 'Kestrel-VL',
  architectures: ['KestrelVLForConditionalGeneration'],
  modalities: ['text', 'image', 'video'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => Qwen2_5VLTarget.load(modelDir, options),
  loadProcessor: (modelDir, options) => new KestrelVLProcessor(modelDir, options),
};
