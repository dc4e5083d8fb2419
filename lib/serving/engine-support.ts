import type { Engine } from './contract.js';

/** Whether an engine takes EAGLE-3 drafts for a target; absent where nobody has looked. */
type Support = Partial<Record<Engine, boolean>>;

const both: Support = { sglang: true, vllm: true };
const neither: Support = { sglang: false, vllm: false };

/**
 * Targets by the class that config.json names. SGLang: classes with `set_eagle3_layers_to_capture` (main of 2026-08-17);
 * vLLM: classes with `SupportsEagle3` (main of 2026-08-20).
 */
const support = new Map<string, Support>([
  ['LlamaForCausalLM', both],
  ['Qwen2ForCausalLM', both],
  ['Qwen3ForCausalLM', both],
  ['Qwen3MoeForCausalLM', both],
  ['Qwen2_5_VLForConditionalGeneration', both],
  ['Qwen3VLForConditionalGeneration', both],
  ['Qwen3VLMoeForConditionalGeneration', both],
  ['Gemma4ForConditionalGeneration', both],
  ['Llama4ForConditionalGeneration', both],
  ['KimiK25ForConditionalGeneration', both],
  ['Gemma3ForConditionalGeneration', { sglang: true, vllm: false }],
  ['Qwen3_5ForConditionalGeneration', { sglang: false, vllm: true }],
  ['DeepseekV2ForCausalLM', { sglang: true }],
  ['DeepseekV3ForCausalLM', { sglang: true }],
  ['GptOssForCausalLM', { sglang: true }],
  ['LlavaForConditionalGeneration', { vllm: true }],
  ['Mistral3ForConditionalGeneration', { vllm: true }],
  ['PixtralForConditionalGeneration', { vllm: true }],
  ['HunYuanVLForConditionalGeneration', { vllm: true }],
  ['Glm4vForConditionalGeneration', { sglang: false }],
  ['Qwen3OmniMoeForConditionalGeneration', neither],
  ['Qwen3OmniMoeThinkerForConditionalGeneration', neither],
  ['Qwen2_5OmniForConditionalGeneration', neither],
  ['Qwen2_5OmniThinkerForConditionalGeneration', neither],
  ['Qwen2VLForConditionalGeneration', neither],
  ['Qwen2AudioForConditionalGeneration', neither],
  ['InternVLChatModel', neither],
  ['InternVLForConditionalGeneration', neither],
  ['DeepseekVLV2ForCausalLM', neither],
  ['MultiModalityCausalLM', neither],
  // vLLM has no class of its own for these; whether its way through transformers' takes them was not tried.
  ['DeepseekVLForConditionalGeneration', { sglang: false }],
  ['DeepseekVLHybridForConditionalGeneration', { sglang: false }],
  ['MiniCPMV', neither],
]);

/** Whether `engine` takes an EAGLE-3 draft for this class of target; undefined where the table does not know. */
export function supportsEagle3(engine: Engine, architecture: string): boolean | undefined {
  return support.get(architecture)?.[engine];
}
