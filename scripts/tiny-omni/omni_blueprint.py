"""The tiny omni target before training: its tokenizer, processor and untrained model."""

import random
from pathlib import Path

import siblings  # noqa: F401
from blueprint import PATCH, QWEN_SPLIT
from omni_conversations import SYSTEMS, conversation
from positions import MERGE
from scenes import PIXELS
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3OmniMoeProcessor,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)

VOCABULARY, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD = 896, 192, 8, 6, 2, 32
EXPERTS, CHOSEN, EXPERT_MLP = 4, 2, 96
ROLES = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *ROLES.values()]


def corpus(rng, conversations):
    for _ in range(conversations):
        for message in conversation(rng, rng.random()).messages():
            yield message["content"]
    yield from ["system\n", "user\n", "assistant\n", " silence", " empty", *SYSTEMS] * 100


def build_tokenizer():
    """Byte-level BPE with Qwen's way of splitting text and Qwen's special tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIAL), show_progress=False, initial_alphabet=alphabet)
    bpe.train_from_iterator(corpus(random.Random(7), 8000), trainer)
    bpe.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    return Qwen2TokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        extra_special_tokens=ROLES,
    )


def build_processor():
    size = {"shortest_edge": PIXELS**2, "longest_edge": PIXELS**2}
    template = Path(__file__).with_name("chat_template.jinja").read_text().rstrip("\n")
    return Qwen3OmniMoeProcessor(
        Qwen2VLImageProcessor(size=dict(size), patch_size=PATCH, merge_size=MERGE),
        Qwen2VLVideoProcessor(size=dict(size), patch_size=PATCH, merge_size=MERGE),
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True),
        build_tokenizer(),
        chat_template=template,
    )


def build_model(tokenizer):
    ids = {s: tokenizer.convert_tokens_to_ids(s) for s in SPECIAL}
    text = dict(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=EXPERTS * EXPERT_MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD,
        num_experts=EXPERTS,
        num_experts_per_tok=CHOSEN,
        moe_intermediate_size=EXPERT_MLP,
        norm_topk_prob=True,
        max_position_embeddings=2048,
        initializer_range=0.04,
        rms_norm_eps=1e-6,
        rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[6, 5, 5], mrope_interleaved=True),
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        tie_word_embeddings=True,
    )
    vision = dict(
        depth=4,
        hidden_size=64,
        intermediate_size=128,
        num_heads=4,
        patch_size=PATCH,
        spatial_merge_size=MERGE,
        temporal_patch_size=2,
        out_hidden_size=HIDDEN,
        num_position_embeddings=64,
        deepstack_visual_indexes=[1, 2],
        initializer_range=0.04,
    )
    audio = dict(
        num_mel_bins=128,
        d_model=96,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=192,
        downsample_hidden_size=24,
        output_dim=HIDDEN,
        n_window=50,
        n_window_infer=400,
        initializer_range=0.04,
    )
    config = Qwen3OmniMoeThinkerConfig(
        audio_config=audio,
        vision_config=vision,
        text_config=text,
        audio_token_id=ids["<|audio_pad|>"],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        audio_start_token_id=ids["<|audio_start|>"],
        audio_end_token_id=ids["<|audio_end|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        user_token_id=tokenizer("user")["input_ids"][0],
        position_id_per_seconds=13,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "eager"  # on short rows in bfloat16 faster than the fused kernel
    model = Qwen3OmniMoeThinkerForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model
