"""Compares `eyas features` with transformers on random tiny Qwen3-VL checkpoints of the given seeds.

Odd seeds are dense, even ones have experts. Every seed gives another checkpoint and other conversations (odd picture sizes, several pictures, clips, text only). The
whole command runs: template, tokenizer, pixels, positions, hidden states.

    python scripts/parity/qwen3_vl.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow and av; run `npm run bootstrap` first.
"""

from common import main
from qwen_vl import check_family, text_sizes
from transformers import (
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)


def build(tokenizer, ids, rng, sparse):
    text, dim = text_sizes(rng, tokenizer)
    if sparse:
        text.update(num_experts=rng.choice([4, 7]), num_experts_per_tok=rng.choice([1, 2, 3]),
                    moe_intermediate_size=rng.choice([24, text["hidden_size"] // 2, text["hidden_size"]]),
                    mlp_only_layers=rng.choice([[], [1], [0, 3]]), decoder_sparse_step=rng.choice([1, 1, 2]))
    depth = rng.choice([3, 4])
    rope = dict(rope_type="default", rope_theta=rng.choice([1e4, 5e6]), mrope_interleaved=True,
                mrope_section=rng.choice({8: [[2, 1, 1], [1, 1, 2]], 16: [[4, 2, 2], [2, 3, 3]]}[dim]))
    config = (Qwen3VLMoeConfig if sparse else Qwen3VLConfig)(
        **ids, tie_word_embeddings=rng.random() < 0.5,
        text_config=dict(**text, head_dim=dim, rope_parameters=rope, attention_bias=rng.random() < 0.3),
        vision_config=dict(depth=depth, hidden_size=32, intermediate_size=48, num_heads=rng.choice([2, 4]), patch_size=16,
                           out_hidden_size=text["hidden_size"], num_position_embeddings=rng.choice([16, 36, 49]),
                           deepstack_visual_indexes=sorted(rng.sample(range(depth), rng.choice([1, 2, 3]))),
                           initializer_range=0.2))
    model = (Qwen3VLMoeForConditionalGeneration if sparse else Qwen3VLForConditionalGeneration)(config)
    half = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessorPil(size=dict(shortest_edge=64 * 64, longest_edge=32 * 32 * 60), patch_size=16, **half), tokenizer,
        Qwen3VLVideoProcessor(size=dict(shortest_edge=64 * 64, longest_edge=32 * 32 * 400)))
    return model, processor


def check(seed):
    check_family(seed, lambda *given: build(*given, sparse=seed % 2 == 0), frame=(96, 64), deepstack=True)


if __name__ == "__main__":
    main(check)
