import type { Family } from '../family.js';
import { architectures, loadConfig } from './config.js';
import { loadQwen3OmniProcessor } from './processor.js';
import { Qwen3OmniTarget } from './target.js';

export const qwen3Omni: Family = {
  name: 'Qwen3-Omni',
  architectures,
  modalities: ['text', 'image', 'video', 'audio'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => Qwen3OmniTarget.load(modelDir, options),
  loadProcessor: loadQwen3OmniProcessor,
};
