import type { Family } from '../family.js';
import { architectures, loadConfig } from './config.js';
import { Qwen3VLProcessor } from './processor.js';
import { Qwen3VLTarget } from './target.js';

export const qwen3VL: Family = {
  name: 'Qwen3-VL',
  architectures,
  modalities: ['text', 'image', 'video'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => Qwen3VLTarget.load(modelDir, options),
  loadProcessor: (modelDir, options) => new Qwen3VLProcessor(modelDir, options),
};
