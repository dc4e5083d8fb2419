"""Compares `eyas features` with transformers on random tiny checkpoints of Qwen3-Omni's thinker of the given seeds.

    python scripts/parity/qwen3_omni.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow, soundfile and av; run `npm run bootstrap` first.
"""

from common import main
from omni import check_family
from transformers import (
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,
    Qwen3OmniMoeProcessor,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)


def build(tokenizer, ids, rng, layers=(6, 7), tied=(False, True)):
    heads, kv = rng.choice([(4, 2), (6, 2), (4, 1), (4, 4)])
    dim = rng.choice([8, 16])
    hidden = heads * dim if rng.random() < 0.5 else 48
    depth = rng.choice([3, 4])
    tied = rng.choice(tied)
    config = Qwen3OmniMoeThinkerConfig(
        image_token_id=ids["image_token"], video_token_id=ids["video_token"], audio_token_id=ids["audio_token"],
        vision_start_token_id=ids["vision_bos_token"], audio_start_token_id=ids["audio_bos_token"],
        position_id_per_seconds=13, tie_word_embeddings=tied,
        text_config=dict(vocab_size=len(tokenizer) + rng.choice([0, 13]), hidden_size=hidden, intermediate_size=rng.choice([64, 88]),
                         num_hidden_layers=rng.choice(layers), num_attention_heads=heads, num_key_value_heads=kv, head_dim=dim,
                         num_experts=rng.choice([4, 6]), num_experts_per_tok=2, moe_intermediate_size=rng.choice([24, hidden // 2]),
                         norm_topk_prob=rng.random() < 0.5, mlp_only_layers=rng.choice([[], [1]]), tie_word_embeddings=tied,
                         max_position_embeddings=4096, initializer_range=0.2,
                         rope_parameters=dict(rope_type="default", rope_theta=rng.choice([1e4, 1e6]), mrope_interleaved=True,
                                              mrope_section={8: [2, 1, 1], 16: [4, 2, 2]}[dim])),
        vision_config=dict(depth=depth, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=16, spatial_merge_size=2,
                           temporal_patch_size=2, out_hidden_size=hidden, num_position_embeddings=rng.choice([16, 36]),
                           deepstack_visual_indexes=rng.sample(range(depth - 1), 2), initializer_range=0.2),
        audio_config=dict(num_mel_bins=rng.choice([80, 128]), d_model=rng.choice([32, 48]), encoder_layers=2, encoder_attention_heads=4,
                          encoder_ffn_dim=56, downsample_hidden_size=rng.choice([6, 12]), output_dim=hidden, n_window=50,
                          n_window_infer=rng.choice([100, 250, 800]), initializer_range=0.2))
    model = Qwen3OmniMoeThinkerForConditionalGeneration(config)
    limits = dict(shortest_edge=64 * 64, longest_edge=32 * 32 * 60)
    look = dict(size=limits, patch_size=16, temporal_patch_size=2, merge_size=2)
    processor = Qwen3OmniMoeProcessor(
        Qwen2VLImageProcessorPil(**look), Qwen2VLVideoProcessor(**look, fps=rng.choice([1, 2])),
        WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins, return_attention_mask=True), tokenizer)
    return model, processor


def check(seed):
    # 128·32·32 pixels a frame at least: this size is kept.
    check_family(seed, build, frame=(416, 320))


if __name__ == "__main__":
    main(check)
