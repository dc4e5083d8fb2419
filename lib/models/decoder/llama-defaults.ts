/**
 * Defaults of transformers' LlamaConfig: configs that are nested in another were saved without what equals them.
 * Vocabulary sizes and special tokens are the tokenizer's, and have no sensible default.
 */
const llamaDefaults = {
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  max_position_embeddings: 2048,
  rope_theta: 10000,
} as const;

/** A nested text config with what its class gives it; those of other classes as they are. */
export function withTextDefaults(text: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return text['model_type'] === 'llama' ? { ...llamaDefaults, ...text } : { ...text };
}
