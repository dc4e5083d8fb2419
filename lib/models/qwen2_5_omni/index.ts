import type { Family } from '../family.js';
import { architectures, loadConfig } from './config.js';
import { loadQwen2_5OmniProcessor } from './processor.js';
import { Qwen2_5OmniTarget } from './target.js';

export const qwen2_5Omni: Family = {
  name: 'Qwen2.5-Omni',
  architectures,
  modalities: ['text', 'image', 'video', 'audio'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => Qwen2_5OmniTarget.load(modelDir, options),
  loadProcessor: loadQwen2_5OmniProcessor,
};
