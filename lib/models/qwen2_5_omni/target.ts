import { openCheckpoint } from '../../hub/safetensors.js';
import { Decoder } from '../decoder/decoder.js';
import { OmniTarget } from '../qwen_omni/target.js';
import { loadThinkerWeights } from '../qwen_omni/weights.js';
import { Qwen2_5VLVisionTower } from '../qwen2_5_vl/vision.js';
import { visionBlueprint } from '../qwen2_5_vl/weights.js';
import type { LoadTargetOptions } from '../target.js';
import { audioBlueprint, Qwen2_5OmniAudioTower } from './audio.js';
import { loadConfig } from './config.js';

/** `Qwen2_5OmniThinkerForConditionalGeneration`, alone or in a `Qwen2_5OmniForConditionalGeneration`. */
export class Qwen2_5OmniTarget extends OmniTarget {
  /** @throws Error for a config.json or weights that are not those of the architecture, naming what is wrong */
  static load(modelDir: string, { dtype = 'float32' }: LoadTargetOptions = {}): Qwen2_5OmniTarget {
    const config = loadConfig(modelDir);
    const blueprint = {
      vision: visionBlueprint(config.vision, dtype, 'separate'),
      audio: audioBlueprint(config.audio, dtype),
    };
    const { decoder, towers } = loadThinkerWeights(openCheckpoint(modelDir), config.text, blueprint, dtype);
    return new Qwen2_5OmniTarget(
      config,
      new Decoder(config.text, decoder),
      new Qwen2_5VLVisionTower(config.vision, towers.vision),
      new Qwen2_5OmniAudioTower(config.audio, towers.audio),
    );
  }
}
