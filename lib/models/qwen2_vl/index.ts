import type { Family } from '../family.js';
import { loadConfig } from './config.js';
import { Qwen2VLProcessor } from './processor.js';
import { Qwen2VLTarget } from './target.js';

export const qwen2VL: Family = {
  name: 'Qwen2-VL',
  architectures: ['Qwen2VLForConditionalGeneration'],
  modalities: ['text', 'image', 'video'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => Qwen2VLTarget.load(modelDir, options),
  loadProcessor: (modelDir, options) => new Qwen2VLProcessor(modelDir, options),
};
