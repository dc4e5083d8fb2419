"""Compares `eyas features` with transformers on random tiny Qwen2.5-VL checkpoints of the given seeds.

Every seed gives another checkpoint (sizes, window layout, tied or not) and other conversations (odd picture sizes, several
pictures, a clip, text only). The whole command runs: template, tokenizer, pixels, positions, hidden states.

    python scripts/parity/features.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow and av; run `npm run bootstrap` first.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,
)

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "tiny-qwen2.5-vl"


def checkpoint(folder, rng):
    """Writes a random model with the embedded tokenizer and template."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in
           ("image_pad", "video_pad", "vision_start", "vision_end", "im_end", "endoftext")}
    heads, kv = rng.choice([(4, 2), (6, 2), (4, 1), (4, 4)])
    dim = rng.choice([8, 16])
    hidden = heads * dim if rng.random() < 0.5 else 48
    section = {8: [1, 1, 2], 16: [2, 3, 3]}[dim]
    vision_depth = rng.choice([2, 3, 4])
    config = Qwen2_5_VLConfig(
        image_token_id=ids["image_pad"], video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"], vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=rng.random() < 0.5,
        text_config=dict(vocab_size=len(tokenizer) + rng.choice([0, 13]), hidden_size=hidden, intermediate_size=rng.choice([64, 88]),
                         num_hidden_layers=rng.choice([6, 7, 8]), num_attention_heads=heads, num_key_value_heads=kv,
                         head_dim=dim, max_position_embeddings=2048, initializer_range=0.2,
                         rope_parameters=dict(rope_type="default", rope_theta=rng.choice([1e4, 1e6]), mrope_section=section),
                         bos_token_id=ids["endoftext"], eos_token_id=ids["im_end"], pad_token_id=ids["endoftext"]),
        vision_config=dict(depth=vision_depth, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=14,
                           spatial_merge_size=2, temporal_patch_size=2, window_size=rng.choice([56, 112]), tokens_per_second=2,
                           out_hidden_size=hidden, fullatt_block_indexes=[vision_depth - 1], initializer_range=0.2))
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.normal_(1.0 if "norm" in name or "ln_q" in name else 0.0, 0.2)
    model.save_pretrained(folder)
    limits = dict(shortest_edge=56 * 56, longest_edge=28 * 28 * 60)
    processor = Qwen2_5_VLProcessor(Qwen2VLImageProcessorPil(size=limits), tokenizer, Qwen2VLVideoProcessor(size=limits),
                                    chat_template=(TINY / "chat_template.jinja").read_text())
    processor.save_pretrained(folder)
    return model, processor


def picture(folder, name, rng):
    size = rng.choice([(101, 67), (28, 300), (300, 31), (640, 480), (57, 56), (224, 224), (333, 77)])
    noise = np.random.default_rng(rng.randrange(1 << 30)).integers(0, 256, (*size[::-1], 3), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.BILINEAR)
    image.save(folder / name)
    return name


def clip(folder, name, rng):
    """56×84 frames, so that no resize is needed: transformers resizes clips by torchvision, not by Pillow's rule."""
    frames = rng.choice([8, 13, 24])
    with av.open(str(folder / name), "w") as container:
        stream = container.add_stream("libx264", rate=rng.choice([4, 8]))
        stream.width, stream.height, stream.pix_fmt = 84, 56, "yuv420p"
        for i in range(frames):
            pixels = np.full((56, 84, 3), (i * 9) % 256, np.uint8)
            pixels[10:40, i * 2 % 60:i * 2 % 60 + 20] = (200, 30, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return name


def conversations(folder, rng):
    def user(*media, text="What is this?"):
        return {"role": "user", "content": [{"type": kind, kind: name} for kind, name in media] + [{"type": "text", "text": text}]}
    answer = {"role": "assistant", "content": "The first picture has a large red circle in the top left."}
    return {
        "text": [{"role": "user", "content": "Count from two to nine."}, answer],
        "one": [user(("image", picture(folder, "a.png", rng))), answer],
        "several": [user(("image", picture(folder, "b.png", rng)), ("image", picture(folder, "c.png", rng))), answer,
                    user(("image", picture(folder, "d.png", rng)), text="And this?"), answer],
        "clip": [user(("video", clip(folder, "e.mp4", rng))), answer, user(text="Why?"), answer],
        "mixed": [user(("image", picture(folder, "f.png", rng)), ("video", clip(folder, "g.mp4", rng)),
                       ("image", picture(folder, "h.png", rng))), answer],
    }


def decode(path):
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), rate


def expected(model, processor, messages, folder):
    """What transformers makes of a conversation: ids, positions, the residual stream at every boundary, the last states."""
    parts = [part for m in messages if not isinstance(m["content"], str) for part in m["content"]]
    clips = [decode(folder / part["video"]) for part in parts if part["type"] == "video"]
    extra = {}
    if clips:
        extra = dict(videos=[frames.transpose(0, 3, 1, 2) for frames, _ in clips], fps=2, do_sample_frames=True,
                     video_metadata=[dict(total_num_frames=len(frames), fps=rate) for frames, rate in clips])
    images = [Image.open(folder / part["image"]) for part in parts if part["type"] == "image"]
    text = processor.apply_chat_template(messages, tokenize=False)
    inputs = processor(text=[text], images=images or None, return_tensors="pt", **extra)
    states = []
    hooks = [layer.register_forward_pre_hook(lambda _, a, k: states.append(a[0] if a else k["hidden_states"]), with_kwargs=True)
             for layer in model.model.language_model.layers]
    hooks.append(model.model.language_model.norm.register_forward_pre_hook(lambda _, a: states.append(a[0])))
    positions = []
    rotary = model.model.language_model.rotary_emb
    hooks.append(rotary.register_forward_pre_hook(lambda _, a, k: positions.append(a[1] if len(a) > 1 else k["position_ids"]), with_kwargs=True))
    with torch.no_grad():
        last = model.model(**inputs).last_hidden_state[0]
    for hook in hooks:
        hook.remove()
    return inputs["input_ids"][0], positions[0][-3:, 0], torch.stack([s[0] for s in states]), last


def error(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def check(seed):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, processor = checkpoint(folder / "model", rng)
        talks = conversations(folder, rng)
        lines = [json.dumps(dict(id=key, messages=messages)) for key, messages in talks.items()]
        (folder / "data.jsonl").write_text("\n".join(lines))
        subprocess.run(["node", str(ROOT / "dist/cli/main.js"), "features", "--model", str(folder / "model"), "--data",
                        str(folder / "data.jsonl"), "--out", str(folder / "out"), "--layers", "all", "--position-rule",
                        "transformers5"], check=True, capture_output=True)
        worst = 0.0
        for key, messages in talks.items():
            ids, positions, states, last = expected(model, processor, messages, folder)
            got = load_file(folder / "out" / f"{key}.safetensors")
            assert torch.equal(got["input_ids"], ids), (seed, key, "ids")
            assert torch.equal(got["position_ids"].float(), positions.float()), (seed, key, "positions")
            layers = model.config.text_config.num_hidden_layers
            aux = torch.cat([states[k] for k in (2, layers // 2, layers - 3)], -1)
            worst = max([worst, error(got["hidden_states"], states), error(got["last_hidden_states"], last)])
            if len({2, layers // 2, layers - 3}) == 3:
                worst = max(worst, error(got["aux_hidden_states"], aux))
        assert worst < 1e-4, (seed, worst)
        print(f"seed {seed}: {len(talks)} records, ids and positions equal, hidden states within {worst:.1e}", flush=True)


if __name__ == "__main__":
    for argument in sys.argv[1:] or ["1"]:
        check(int(argument))
