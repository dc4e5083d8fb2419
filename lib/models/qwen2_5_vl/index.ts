import type { Family } from '../family.js';
import { loadConfig } from './config.js';
import { Qwen2_5VLProcessor } from './processor.js';
import { Qwen2_5VLTarget } from './target.js';

export const qwen2_5VL: Family = {
  name: 'Qwen2.5-VL',
  architectures: ['Qwen2_5_VLForConditionalGeneration'],
  modalities: ['text', 'image', 'video'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => Qwen2_5VLTarget.load(modelDir, options),
  loadProcessor: (modelDir, options) => new Qwen2_5VLProcessor(modelDir, options),
};
