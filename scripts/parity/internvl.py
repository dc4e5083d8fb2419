"""Compares `eyas features` with transformers on random tiny InternVL checkpoints of the given seeds.

Every seed gives another text backbone and tower (sizes, norms, biases, tied or not, pixel shuffle), saved in
transformers' layout and, under the original names, in OpenGVLab's; the second must give the same. The whole command runs
on text, pictures of odd sizes and clips: template, tokenizer, tiles, positions, hidden states.

    python scripts/parity/internvl.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow and av; run `npm run bootstrap` first.
"""

import random
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from common import ANSWER, TINY, clip, compare, decode, features, main, media, picture, run_decoder, user
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
from internvl_model import make_model, make_processor, make_tokenizer, save_original  # noqa: E402

BACKBONES = ["qwen2", "qwen3", "qwen3_moe", "llama", "internlm2"]


def text_config(backbone, rng):
    heads, kv = rng.choice([(4, 2), (6, 2), (4, 1), (4, 4)])
    dim = rng.choice([8, 16])
    fixed = backbone in ("qwen2", "internlm2")
    config = dict(model_type="llama" if backbone == "internlm2" else backbone, head_dim=dim,
                  hidden_size=heads * dim if fixed or rng.random() < 0.5 else 48, intermediate_size=rng.choice([64, 88]),
                  num_hidden_layers=rng.choice([7, 8]), num_attention_heads=heads, num_key_value_heads=kv,
                  rms_norm_eps=rng.choice([1e-5, 1e-6]),
                  rope_parameters=dict(rope_type="default", rope_theta=rng.choice([1e4, 1e6])))
    if backbone == "qwen3_moe":
        config.update(num_experts=rng.choice([4, 6]), num_experts_per_tok=2, moe_intermediate_size=rng.choice([24, 32]),
                      norm_topk_prob=rng.random() < 0.5, decoder_sparse_step=1, mlp_only_layers=[])
    if backbone in ("llama", "internlm2"):
        config.update(attention_bias=rng.random() < 0.5)
    return config


def vision_config(rng, variant):
    """`variant`: with what only transformers' layout has."""
    patch = rng.choice([7, 14])
    heads = rng.choice([2, 4])
    return dict(hidden_size=heads * rng.choice([8, 12]), intermediate_size=rng.choice([40, 56]), num_hidden_layers=rng.choice([2, 3]),
                num_attention_heads=heads, patch_size=[patch] * 2, image_size=[28 * rng.choice([1, 2])] * 2,
                norm_type=rng.choice(["layer_norm", "rms_norm"]), use_qk_norm=rng.random() < 0.5,
                attention_bias=rng.random() < 0.5, layer_norm_eps=1e-4 if variant else 1e-6,
                use_mean_pooling=not variant or rng.random() < 0.5,
                use_absolute_position_embeddings=not variant or rng.random() < 0.5)


def conversations(folder, rng, side):
    def image(name):
        return ("image", picture(folder, name, rng))

    def video(name):
        return ("video", clip(folder, name, rng, (side, side), (33, 40, 64)))
    return {
        "text": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Count from two to nine."}, ANSWER],
        "one": [user(image("a.png")), ANSWER],
        "several": [user(image("b.png"), image("c.png")), ANSWER, user(image("d.png"), text="And this?"), ANSWER],
        "clip": [user(video("e.mp4")), ANSWER, user(text="Why?"), ANSWER],
        "mixed": [user(image("f.png"), video("g.mp4"), image("h.png")), ANSWER],
    }


def expected(model, processor, messages, folder, frames):
    clips = [decode(folder / name) for name in media(messages, "video")]
    extra = {}
    if clips:
        extra = dict(videos=[f.transpose(0, 3, 1, 2) for f, _ in clips], num_frames=frames, do_sample_frames=True,
                     video_metadata=[dict(total_num_frames=len(f), fps=rate) for f, rate in clips])
    images = [Image.open(folder / name) for name in media(messages, "image")]
    text = processor.apply_chat_template(messages, tokenize=False)
    inputs = processor(text=[text], images=images or None, return_tensors="pt", **extra)
    result, positions, states = run_decoder(model.model.language_model, lambda: model(**inputs))
    last = model.model.language_model.norm(states[-1])
    return inputs["input_ids"][0], positions, states, last, result.logits[0]


def check(seed):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    backbone = BACKBONES[seed % len(BACKBONES)]
    tokenizer = make_tokenizer(TINY)
    variant = seed % 3 == 0
    vision = vision_config(rng, variant)
    tied = rng.random() < 0.5
    ratio = rng.choice([0.5, 0.5, 1.0])
    # Sides of tiles hold whole tokens.
    if vision["image_size"][0] // vision["patch_size"][0] % int(1 / ratio):
        ratio = 1.0
    with torch.no_grad():
        model = make_model(text_config(backbone, rng), vision, tokenizer, tied, rng.choice([0, 13]), downsample_ratio=ratio)
    tiles = rng.choice([1, 4, 6, 12])
    frames = 32
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        processor = make_processor(model, tokenizer, tiles)
        model.save_pretrained(folder / "transformers")
        processor.save_pretrained(folder / "transformers")
        talks = conversations(folder, rng, vision["image_size"][0])
        layouts = ["transformers"]
        if not variant:
            save_original(model, tokenizer, tiles, folder / "original", backbone == "internlm2")
            layouts.append("original")
        want = {key: expected(model, processor, messages, folder, frames) for key, messages in talks.items()}
        worst = 0.0
        for layout in layouts:
            shutil.rmtree(folder / "out", ignore_errors=True)
            got = features(folder / layout, talks, folder)
            for key, (ids, positions, states, last, logits) in want.items():
                try:
                    worst = max(worst, compare(got[key], ids, positions, states, last))
                except AssertionError as problem:
                    raise AssertionError(seed, layout, key) from problem
                ours = model.lm_head(got[key]["last_hidden_states"])
                worst = max(worst, ((ours - logits).abs().max() / logits.abs().max()).item())
        assert worst < 1e-4, (seed, worst)
        print(f"seed {seed}: {backbone}, {' and '.join(layouts)} layout, {len(talks)} records: ids and positions equal, "
              f"hidden states and logits within {worst:.1e}", flush=True)


if __name__ == "__main__":
    main(check)
