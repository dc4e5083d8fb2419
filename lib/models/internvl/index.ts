import type { Family } from '../family.js';
import { architectures, loadConfig } from './config.js';
import { InternVLProcessor } from './processor.js';
import { InternVLTarget } from './target.js';

export const internVL: Family = {
  name: 'InternVL',
  architectures,
  modalities: ['text', 'image', 'video'],
  readInfo: (modelDir) => loadConfig(modelDir).text,
  loadTarget: (modelDir, options) => InternVLTarget.load(modelDir, options),
  loadProcessor: (modelDir, options) => InternVLProcessor.create(modelDir, options),
};
