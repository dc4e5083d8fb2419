import type { WeightSpec } from '../../hub/weights.js';
import { clone, dispose, narrow, reshape, scope, type DType, type Tensor } from '../../tensor.js';
import { decoderWeightSpec, type DecoderForm } from '../decoder/weights.js';
import type { TargetInfo } from '../target.js';

/** Llama's names and InternLM2's; q, k and v are one matrix there. */
const names = [
  ['model.embed_tokens.', 'model.tok_embeddings.'],
  ['self_attn.o_proj.', 'attention.wo.'],
  ['mlp.gate_proj.', 'feed_forward.w1.'],
  ['mlp.down_proj.', 'feed_forward.w2.'],
  ['mlp.up_proj.', 'feed_forward.w3.'],
  ['input_layernorm.', 'attention_norm.'],
  ['post_attention_layernorm.', 'ffn_norm.'],
  ['lm_head.', 'output.'],
] as const;

const projection = /self_attn\.([qkv])_proj\./;

/** InternLM2's name of a Llama weight; that of all three for q, k and v. */
function internlm2Name(llama: string): string {
  if (projection.test(llama)) return llama.replace(projection, 'attention.wqkv.');
  const entry = names.find(([name]) => llama.includes(name));
  return entry ? llama.replace(entry[0], entry[1]) : llama;
}

/** {@link decoderWeightSpec} with InternLM2's names. */
export function internlm2WeightSpec(info: TargetInfo, form: DecoderForm, dtype: DType): Record<string, WeightSpec> {
  const rows = (info.numHeads + 2 * info.numKeyValueHeads) * info.headDim;
  return Object.fromEntries(
    Object.entries(decoderWeightSpec(info, form, dtype)).map(([llama, spec]) => {
      const name = internlm2Name(llama);
      if (!projection.test(llama) || !('shape' in spec)) return [name, spec];
      return [name, { ...spec, shape: [rows, ...spec.shape.slice(1)] }];
    }),
  );
}

/**
 * Rows of q, k or v out of `wqkv`, which holds for every key head its query heads, then its key, then its value.
 *
 * @param wqkv [(heads + 2·kvHeads)·D, …]
 */
function split(wqkv: Tensor, part: string, { numHeads, numKeyValueHeads, headDim }: TargetInfo): Tensor {
  const group = numHeads / numKeyValueHeads;
  const [start, count] = { q: [0, group], k: [group, 1], v: [group + 1, 1] }[part]! as [number, number];
  const features = wqkv.shape.slice(1);
  return scope(() => {
    const groups = reshape(wqkv, [numKeyValueHeads, group + 2, -1]);
    return reshape(clone(narrow(groups, 1, start, count)), [numKeyValueHeads * count * headDim, ...features]);
  });
}

/** Puts what was loaded for {@link internlm2WeightSpec} under the names of {@link decoderWeightSpec}. */
export function renameInternLM2(loaded: Map<string, Tensor>, info: TargetInfo, form: DecoderForm, dtype: DType): void {
  const fused = new Map<string, Tensor>();
  for (const llama of Object.keys(decoderWeightSpec(info, form, dtype))) {
    const name = internlm2Name(llama);
    if (name === llama) continue;
    const weight = loaded.get(name) ?? fused.get(name)!;
    loaded.delete(name);
    const part = projection.exec(llama)?.[1];
    if (part === undefined) {
      loaded.set(llama, weight);
    } else {
      fused.set(name, weight);
      loaded.set(llama, split(weight, part, info));
    }
  }
  dispose([...fused.values()]);
}
