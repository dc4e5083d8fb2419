import { openCheckpoint } from '../../hub/safetensors.js';
import { Decoder } from '../decoder/decoder.js';
import { OmniTarget } from '../qwen_omni/target.js';
import { loadThinkerWeights } from '../qwen_omni/weights.js';
import type { MergerNames } from '../qwen_vl/merger.js';
import { Qwen3VLVisionTower, visionBlueprint, type VisionNames } from '../qwen3_vl/vision.js';
import type { LoadTargetOptions } from '../target.js';
import { audioBlueprint, Qwen3OmniAudioTower } from './audio.js';
import { loadConfig } from './config.js';

const merger = (prefix: string): MergerNames => ({
  norm: `${prefix}.ln_q`,
  in: `${prefix}.mlp.0`,
  out: `${prefix}.mlp.2`,
});

const visionNames: VisionNames = {
  merger: merger('visual.merger'),
  deepstackMerger: (index) => merger(`visual.merger_list.${index}`),
};

/** `Qwen3OmniMoeThinkerForConditionalGeneration`, alone or in a `Qwen3OmniMoeForConditionalGeneration`. */
export class Qwen3OmniTarget extends OmniTarget {
  /** @throws Error for a config.json or weights that are not those of the architecture, naming what is wrong */
  static load(modelDir: string, { dtype = 'float32' }: LoadTargetOptions = {}): Qwen3OmniTarget {
    const config = loadConfig(modelDir);
    const blueprint = {
      vision: visionBlueprint(config.vision, dtype, visionNames),
      audio: audioBlueprint(config.audio, dtype),
    };
    const { decoder, towers } = loadThinkerWeights(openCheckpoint(modelDir), config.text, blueprint, dtype);
    return new Qwen3OmniTarget(
      config,
      new Decoder(config.text, decoder),
      new Qwen3VLVisionTower(config.vision, towers.vision),
      new Qwen3OmniAudioTower(config.audio, towers.audio),
    );
  }
}
