/** Classes of config.json. */
export const architectures = {
  plain: 'DeepseekVLForConditionalGeneration',
  hybrid: 'DeepseekVLHybridForConditionalGeneration',
  /** DeepSeek's own code; Janus has the same name. */
  original: 'MultiModalityCausalLM',
} as const;
