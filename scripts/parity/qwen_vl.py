"""What the parity scripts of the Qwen-VL families share: a family gives its random model and processor."""

import random
import tempfile
from pathlib import Path

import torch
from common import ANSWER, TINY, clip, compare, decode, error, features, media, picture, run_decoder, user
from PIL import Image
from transformers import AutoTokenizer


def text_sizes(rng, tokenizer):
    """Sizes of a text decoder; -> them, and the size of its heads."""
    heads, kv = rng.choice([(4, 2), (6, 2), (4, 1), (4, 4)])
    dim = rng.choice([8, 16])
    return dict(vocab_size=len(tokenizer) + rng.choice([0, 13]), hidden_size=heads * dim if rng.random() < 0.5 else 48,
                intermediate_size=rng.choice([64, 88]), num_hidden_layers=rng.choice([6, 7, 8]), num_attention_heads=heads,
                num_key_value_heads=kv, max_position_embeddings=4096, initializer_range=0.2), dim


def randomize(model):
    """Norms and biases too."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.normal_(1.0 if "norm" in name or "ln_q" in name else 0.0, 0.2)


def conversations(folder, rng, frame):
    def image(name):
        return ("image", picture(folder, name, rng))

    def video(name, **options):
        return ("video", clip(folder, name, rng, frame), options)
    return {
        "text": [{"role": "user", "content": "Count from two to nine."}, ANSWER],
        "one": [user(image("a.png")), ANSWER],
        "several": [user(image("b.png"), image("c.png")), ANSWER, user(image("d.png"), text="And this?"), ANSWER],
        "clip": [user(video("e.mp4")), ANSWER, user(text="Why?"), ANSWER],
        "rate": [user(video("f.mp4", fps=rng.choice([1, 3, 3.7]))), ANSWER],
        "mixed": [user(image("g.png"), video("h.mp4"), image("i.png")), ANSWER, user(video("j.mp4"), text="And?"), ANSWER],
    }


def inputs_of(processor, messages, folder):
    """What transformers' processor makes of a conversation."""
    parts = [part for m in messages if not isinstance(m["content"], str) for part in m["content"]]
    rates = [part.get("fps", 2) for part in parts if part["type"] == "video"]
    extra = {}
    if rates:
        clips = [decode(folder / name) for name in media(messages, "video")]
        extra = dict(videos=[frames.transpose(0, 3, 1, 2) for frames, _ in clips], fps=rates[0], do_sample_frames=True,
                     video_metadata=[dict(total_num_frames=len(frames), fps=rate) for frames, rate in clips])
    images = [Image.open(folder / name) for name in media(messages, "image")]
    return processor(text=[processor.apply_chat_template(messages, tokenize=False)], images=images or None,
                     return_tensors="pt", **extra)


def run(model, inputs):
    """-> last states, positions, the residual stream at every boundary before and after visual features are added"""
    decoder, outputs = model.model.language_model, []
    hooks = [layer.register_forward_hook(lambda _, args, out: outputs.append(out[0] if isinstance(out, tuple) else out))
             for layer in decoder.layers]
    last, positions, after = run_decoder(decoder, lambda: model.model(**inputs).last_hidden_state[0])
    for hook in hooks:
        hook.remove()
    return last, positions, torch.stack([after[0], *[out.reshape(after[0].shape) for out in outputs]]), after


def check_pixels(got, inputs):
    """Patches and grids of pictures and clips; frames keep their size, so that torchvision's resize does nothing."""
    kinds = {"image": ("pixel_values", "image_grid_thw"), "video": ("pixel_values_videos", "video_grid_thw")}
    seen = []
    for pixels, grids in kinds.values():
        if pixels in inputs:
            sizes = inputs[grids].prod(-1).tolist()
            seen += zip(inputs[pixels].split(sizes), inputs[grids])
    mine = [(got[f"media.{i}.pixels"], got[f"media.{i}.grid"]) for i in range(len(seen))]
    assert f"media.{len(seen)}.pixels" not in got, "media"
    for pixels, grid in seen:  # theirs come by kind, mine in order
        match = [k for k, (own, shape) in enumerate(mine)
                 if torch.equal(shape.int(), grid.int()) and (own - pixels.flatten()).abs().max() < 1e-5]
        assert match, ("pixels", grid)
        mine.pop(match[0])


def check_family(seed, build, frame, deepstack=False):
    """`build(tokenizer, ids, rng)` -> model, processor; clips have frames of `frame`, which need no resize."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    names = dict(image_token_id="image_pad", video_token_id="video_pad", vision_start_token_id="vision_start",
                 vision_end_token_id="vision_end")
    ids = {key: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for key, name in names.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, processor = build(tokenizer, ids, rng)
        model = model.float().eval()
        randomize(model)
        model.save_pretrained(folder / "model")
        processor.chat_template = (TINY / "chat_template.jinja").read_text()
        processor.save_pretrained(folder / "model")
        talks = conversations(folder, rng, frame)
        before = features(folder / "model", talks, folder, "--logits", "--media-features")
        after = features(folder / "model", talks, folder, "--serving", "vllm") if deepstack else before
        worst = 0.0
        for key, messages in talks.items():
            inputs = inputs_of(processor, messages, folder)
            last, positions, *states = run(model, inputs)
            try:
                for got, expected in zip((before[key], after[key]), states):
                    worst = max(worst, compare(got, inputs["input_ids"][0], positions, expected, last))
                check_pixels(before[key], inputs)
            except AssertionError as problem:
                raise AssertionError(seed, key) from problem
            with torch.no_grad():
                worst = max(worst, error(before[key]["logits"], model.lm_head(last)))
        assert worst < 1e-4, (seed, worst)
        print(f"seed {seed}: {len(talks)} records, ids, positions and pixels equal, hidden states and logits within {worst:.1e}",
              flush=True)
