"""Compares `eyas features` with transformers on random tiny checkpoints of Qwen2.5-Omni's thinker of the given seeds.

    python scripts/parity/qwen2_5_omni.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow, soundfile and av; run `npm run bootstrap` first.
"""

from common import main
from omni import check_family
from transformers import (
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)


def build(tokenizer, ids, rng, layers=(6, 7), tied=(False, True)):
    heads, kv = rng.choice([(4, 2), (6, 2), (4, 1), (4, 4)])
    dim = rng.choice([8, 16])
    hidden = heads * dim
    depth = rng.choice([2, 3, 4])
    tied = rng.choice(tied)
    config = Qwen2_5OmniThinkerConfig(
        image_token_index=ids["image_token"], video_token_index=ids["video_token"], audio_token_index=ids["audio_token"],
        vision_start_token_id=ids["vision_bos_token"], audio_start_token_id=ids["audio_bos_token"],
        audio_end_token_id=ids["audio_eos_token"], tie_word_embeddings=tied,
        text_config=dict(vocab_size=len(tokenizer) + rng.choice([0, 13]), hidden_size=hidden, intermediate_size=rng.choice([64, 88]),
                         num_hidden_layers=rng.choice(layers), num_attention_heads=heads, num_key_value_heads=kv,
                         tie_word_embeddings=tied, max_position_embeddings=4096, initializer_range=0.2,
                         rope_parameters=dict(rope_type="default", rope_theta=rng.choice([1e4, 1e6]),
                                              mrope_section={8: [2, 1, 1], 16: [2, 3, 3]}[dim])),
        vision_config=dict(depth=depth, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=14, spatial_merge_size=2,
                           temporal_patch_size=2, window_size=rng.choice([56, 112]), out_hidden_size=hidden,
                           fullatt_block_indexes=[depth - 1], initializer_range=0.2),
        audio_config=dict(num_mel_bins=rng.choice([80, 128]), d_model=rng.choice([32, 48]), encoder_layers=2,
                          encoder_attention_heads=4, encoder_ffn_dim=56, output_dim=hidden, n_window=rng.choice([25, 100]),
                          initializer_range=0.2))
    model = Qwen2_5OmniThinkerForConditionalGeneration(config)
    limits = dict(shortest_edge=56 * 56, longest_edge=28 * 28 * 60)
    processor = Qwen2_5OmniProcessor(
        Qwen2VLImageProcessorPil(size=limits), Qwen2VLVideoProcessor(size=limits, fps=rng.choice([1, 2])),
        WhisperFeatureExtractor(feature_size=config.audio_config.num_mel_bins, chunk_length=rng.choice([8, 30]),
                                return_attention_mask=True), tokenizer)
    return model, processor


def check(seed):
    # 128·28·28 pixels a frame at least: this size is kept.
    check_family(seed, build, frame=(364, 280))


if __name__ == "__main__":
    main(check)
