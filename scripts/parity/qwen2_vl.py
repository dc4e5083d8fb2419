"""Compares `eyas features` with transformers on random tiny Qwen2-VL checkpoints of the given seeds.

Every seed gives another checkpoint and other conversations (odd picture sizes, several pictures, clips, text only). The
whole command runs: template, tokenizer, pixels, positions, hidden states.

    python scripts/parity/qwen2_vl.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow and av; run `npm run bootstrap` first.
"""

from common import main
from qwen_vl import check_family, text_sizes
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)


def build(tokenizer, ids, rng):
    text, dim = text_sizes(rng, tokenizer)
    text["hidden_size"] = text["num_attention_heads"] * dim
    rope = dict(rope_type="default", rope_theta=rng.choice([1e4, 1e6]), mrope_section={8: [1, 1, 2], 16: [2, 3, 3]}[dim])
    config = Qwen2VLConfig(
        **ids, tie_word_embeddings=rng.random() < 0.5,
        text_config=dict(**text, rope_parameters=rope),
        vision_config=dict(depth=rng.choice([2, 3]), embed_dim=32, mlp_ratio=rng.choice([2, 4]), num_heads=rng.choice([2, 4]),
                           patch_size=14, hidden_size=text["hidden_size"], initializer_range=0.2))
    limits = dict(shortest_edge=56 * 56, longest_edge=28 * 28 * 60)
    processor = Qwen2VLProcessor(Qwen2VLImageProcessorPil(size=limits), tokenizer, Qwen2VLVideoProcessor(size=limits))
    return Qwen2VLForConditionalGeneration(config), processor


if __name__ == "__main__":
    main(lambda seed: check_family(seed, build, frame=(84, 56)))
