"""Compares `eyas features` with transformers on random tiny Qwen2.5-VL checkpoints of the given seeds.

Every seed gives another checkpoint and other conversations (odd picture sizes, several pictures, clips, text only). The
whole command runs: template, tokenizer, pixels, positions, hidden states.

    python scripts/parity/qwen2_5_vl.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow and av; run `npm run bootstrap` first.
"""

from common import main
from qwen_vl import check_family, text_sizes
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,
)


def build(tokenizer, ids, rng):
    text, dim = text_sizes(rng, tokenizer)
    text["hidden_size"] = text["num_attention_heads"] * dim
    depth = rng.choice([2, 3, 4])
    rope = dict(rope_type="default", rope_theta=rng.choice([1e4, 1e6]), mrope_section={8: [1, 1, 2], 16: [2, 3, 3]}[dim])
    config = Qwen2_5_VLConfig(
        **ids, tie_word_embeddings=rng.random() < 0.5,
        text_config=dict(**text, rope_parameters=rope),
        vision_config=dict(depth=depth, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=14,
                           spatial_merge_size=2, temporal_patch_size=2, window_size=rng.choice([56, 112]), tokens_per_second=2,
                           out_hidden_size=text["hidden_size"], fullatt_block_indexes=[depth - 1], initializer_range=0.2))
    limits = dict(shortest_edge=56 * 56, longest_edge=28 * 28 * 60)
    processor = Qwen2_5_VLProcessor(Qwen2VLImageProcessorPil(size=limits), tokenizer, Qwen2VLVideoProcessor(size=limits))
    return Qwen2_5_VLForConditionalGeneration(config), processor


if __name__ == "__main__":
    main(lambda seed: check_family(seed, build, frame=(84, 56)))
