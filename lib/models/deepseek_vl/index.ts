import type { Family } from '../family.js';
import { architectures } from './architectures.js';
import { loadConfig } from './config.js';
import { DeepseekVLProcessor } from './processor.js';
import { DeepseekVLTarget } from './target.js';

export const deepseekVL: Family = {
  name: 'DeepSeek-VL',
  architectures: Object.values(architectures),
  modalities: ['text', 'image'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => DeepseekVLTarget.load(modelDir, options),
  loadProcessor: (modelDir) => new DeepseekVLProcessor(modelDir),
};
