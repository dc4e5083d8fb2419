import { decoderKinds } from '../decoder/config.js';
import type { Family } from '../family.js';
import { loadConfig, type TextKind } from './config.js';
import { TextProcessor } from './processor.js';
import { loadTextTarget } from './target.js';

/** A family of LLMs without media whose decoder is one that `Decoder` runs. */
export function textFamily(name: string, kind: TextKind): Family {
  return {
    name,
    architectures: [kind.architecture],
    modalities: ['text'],
    readInfo: (modelDir) => loadConfig(modelDir, kind),
    loadTarget: (modelDir, options) => loadTextTarget(modelDir, loadConfig(modelDir, kind), options),
    loadProcessor: (modelDir) => new TextProcessor(modelDir, loadConfig(modelDir, kind)),
  };
}

export const textFamilies: readonly Family[] = [
  textFamily('Llama', { architecture: 'LlamaForCausalLM', modelType: 'llama', decoder: decoderKinds.llama }),
  textFamily('Qwen2', { architecture: 'Qwen2ForCausalLM', modelType: 'qwen2', decoder: decoderKinds.qwen2 }),
  textFamily('Qwen3', { architecture: 'Qwen3ForCausalLM', modelType: 'qwen3', decoder: decoderKinds.qwen3 }),
  textFamily('Qwen3-MoE', {
    architecture: 'Qwen3MoeForCausalLM',
    modelType: 'qwen3_moe',
    decoder: decoderKinds.qwen3_moe,
  }),
];
