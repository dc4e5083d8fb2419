import type { Family } from '../family.js';
import { loadConfig, textArchitectures, type TextModelType } from './config.js';
import { TextProcessor } from './processor.js';
import { loadTextTarget } from './target.js';

function textFamily(name: string, modelType: TextModelType): Family {
  return {
    name,
    architectures: [textArchitectures[modelType]],
    modalities: ['text'],
    readInfo: (modelDir) => loadConfig(modelDir, modelType),
    loadTarget: (modelDir, options) => loadTextTarget(modelDir, loadConfig(modelDir, modelType), options),
    loadProcessor: (modelDir) => new TextProcessor(modelDir, loadConfig(modelDir, modelType)),
  };
}

/** LLMs without media. */
export const textFamilies: readonly Family[] = [
  textFamily('Llama', 'llama'),
  textFamily('Qwen2', 'qwen2'),
  textFamily('Qwen3', 'qwen3'),
  textFamily('Qwen3-MoE', 'qwen3_moe'),
];
