import { openCheckpoint } from '../../hub/safetensors.js';
import { Decoder } from '../decoder/decoder.js';
import { QwenVLTarget } from '../qwen_vl/target.js';
import { loadQwenVLWeights } from '../qwen_vl/weights.js';
import type { LoadTargetOptions } from '../target.js';
import { loadConfig } from './config.js';
import { Qwen2_5VLVisionTower } from './vision.js';
import { visionBlueprint } from './weights.js';

/** `Qwen2_5_VLForConditionalGeneration`. */
export class Qwen2_5VLTarget extends QwenVLTarget {
  /** @throws Error for a config.json or weights that are not those of the architecture, naming what is wrong */
  static load(modelDir: string, { dtype = 'float32' }: LoadTargetOptions = {}): Qwen2_5VLTarget {
    const config = loadConfig(modelDir);
    const blueprint = visionBlueprint(config.vision, dtype);
    const weights = loadQwenVLWeights(openCheckpoint(modelDir), config.text, blueprint, dtype);
    const decoder = new Decoder(config.text, weights.decoder);
    return new Qwen2_5VLTarget(config, decoder, new Qwen2_5VLVisionTower(config.vision, weights.vision));
  }
}
