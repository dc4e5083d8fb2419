"""The tiny target before training: its tokenizer, processor and untrained model."""

import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from conversations import SYSTEMS, conversation
from positions import MERGE, TOKENS_PER_SECOND
from scenes import PIXELS

VOCABULARY, HIDDEN, MLP, LAYERS, HEADS, KV_HEADS = 1024, 192, 384, 8, 6, 2
PATCH = 14
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)


def corpus(rng, conversations):
    for _ in range(conversations):
        for message in conversation(rng, rng.random()).messages():
            yield message["content"]
    yield from ["system\n", "user\n", "assistant\n", "You are a helpful assistant.", *SYSTEMS] * 100


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
    return Qwen2TokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None)


def build_processor():
    size = {"shortest_edge": PIXELS**2, "longest_edge": PIXELS**2}
    template = Path(__file__).with_name("chat_template.jinja").read_text().rstrip("\n")
    images, videos = Qwen2VLImageProcessor(size=dict(size)), Qwen2VLVideoProcessor(size=dict(size))
    return Qwen2_5_VLProcessor(images, build_tokenizer(), videos, chat_template=template)


def build_model(tokenizer):
    ids = {s: tokenizer.convert_tokens_to_ids(s) for s in SPECIAL}
    rope = dict(rope_type="default", rope_theta=1e6, mrope_section=[4, 6, 6])
    text = dict(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=2048,
        initializer_range=0.04,
        rms_norm_eps=1e-6,
        rope_parameters=rope,
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        tie_word_embeddings=True,
    )
    vision = dict(
        depth=4,
        hidden_size=128,
        intermediate_size=256,
        num_heads=4,
        patch_size=PATCH,
        spatial_merge_size=MERGE,
        temporal_patch_size=2,
        window_size=56,
        tokens_per_second=TOKENS_PER_SECOND,
        out_hidden_size=HIDDEN,
        fullatt_block_indexes=[1, 3],
        initializer_range=0.04,
    )
    config = Qwen2_5_VLConfig(
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        text_config=text,
        vision_config=vision,
    )
    config._attn_implementation = "eager"  # on short rows in bfloat16 faster than the fused kernel
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model
