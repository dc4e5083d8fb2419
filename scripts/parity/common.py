"""What the parity scripts of all families share: random media, the command, and what is compared."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "tiny-qwen2.5-vl"
ANSWER = {"role": "assistant", "content": "The first picture has a large red circle in the top left."}
RATE = 16000


def random_state(rng):
    return np.random.default_rng(rng.randrange(1 << 30))


def picture(folder, name, rng):
    """A picture of an odd size."""
    size = rng.choice([(101, 67), (28, 300), (300, 31), (640, 480), (57, 56), (224, 224), (333, 77)])
    noise = random_state(rng).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.BILINEAR).save(folder / name)
    return name


def noise(rng, seconds):
    """Noise and a tone, 16 kHz: int16 samples."""
    count = int(seconds * RATE) + rng.randrange(RATE // 50)
    random = random_state(rng).normal(0, 2000, count)
    tone = 6000 * np.sin(np.arange(count) * 2 * np.pi * rng.uniform(100, 3000) / RATE)
    return (random + tone * (np.arange(count) % 9000 < 5000)).astype(np.int16)


def sound(folder, name, rng, seconds):
    soundfile.write(folder / name, noise(rng, seconds), RATE)
    return name


def clip(folder, name, rng, size=(84, 56), lengths=(8, 13, 24), seconds_of_sound=0):
    """A clip of one of `lengths` frames. Choose a size that needs no resize: transformers resizes clips by torchvision, not
    by Pillow's rule. Its sound goes to a wav file beside it too."""
    width, height = size
    frames = rng.choice(lengths)
    with av.open(str(folder / name), "w") as container:
        stream = container.add_stream("libx264", rate=rng.choice([4, 8]))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        ear = container.add_stream("pcm_s16le", rate=RATE, layout="mono") if seconds_of_sound else None
        for i in range(frames):
            pixels = np.full((height, width, 3), (i * 9) % 256, np.uint8)
            pixels[10:40, i * 2 % 60 : i * 2 % 60 + 20] = (200, 30, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
        if ear:
            samples = noise(rng, seconds_of_sound)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate = RATE
            container.mux(ear.encode(frame))
            container.mux(ear.encode())
            soundfile.write(folder / (name + ".wav"), samples, RATE)
    return name


def decode(path):
    """-> frames [T, h, w, 3], frames a second"""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), rate


def user(*media, text="What is this?"):
    parts = [{"type": kind, kind: name} | dict(*options) for kind, name, *options in media]
    return {"role": "user", "content": parts + [{"type": "text", "text": text}]}


def media(messages, kind):
    """References of one kind in a conversation, in order."""
    parts = [part for m in messages if not isinstance(m["content"], str) for part in m["content"]]
    return [part[kind] for part in parts if part["type"] == kind]


def features(model, talks, folder, *flags):
    """Runs `eyas features` on conversations by id; -> tensors by id."""
    data, out = Path(folder) / "data.jsonl", Path(folder) / "out"
    data.write_text("\n".join(json.dumps(dict(id=key, messages=messages)) for key, messages in talks.items()))
    command = ["node", str(ROOT / "dist/cli/main.js"), "features", "--model", str(model), "--data", str(data), "--out", str(out)]
    rule = ["--position-rule", "transformers5", "--layers", "all"]
    subprocess.run([*command, *rule, *flags], check=True, stdout=subprocess.DEVNULL)
    return {key: load_file(out / f"{key}.safetensors") for key in talks}


def run_decoder(decoder, forward):
    """Calls `forward`; -> its result, the positions [axes, T] that the decoder got, the residual stream at every boundary."""
    states, positions = [], []
    hooks = [layer.register_forward_pre_hook(lambda _, a, k: states.append(a[0] if a else k["hidden_states"]), with_kwargs=True)
             for layer in decoder.layers]
    hooks.append(decoder.norm.register_forward_pre_hook(lambda _, a: states.append(a[0])))
    hooks.append(decoder.rotary_emb.register_forward_pre_hook(
        lambda _, a, k: positions.append(a[1] if len(a) > 1 else k["position_ids"]), with_kwargs=True))
    with torch.no_grad():
        result = forward()
    for hook in hooks:
        hook.remove()
    axes = positions[0][-3:, 0] if positions[0].ndim == 3 else positions[0]
    return result, axes, torch.stack([s[0] for s in states])


def error(a, b):
    """Largest difference, relative to the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


def compare(got, ids, positions, states, last):
    """Ids and positions are equal; -> the largest relative error of the residual streams, last and aux states."""
    assert torch.equal(got["input_ids"], ids), "ids"
    assert torch.equal(got["position_ids"].float(), positions.float()), "positions"
    layers = len(states) - 1
    errors = [error(got["hidden_states"], states), error(got["last_hidden_states"], last)]
    chosen = (2, layers // 2, layers - 3)
    if len(set(chosen)) == 3:
        errors.append(error(got["aux_hidden_states"], torch.cat([states[k] for k in chosen], -1)))
    return max(errors)


def main(check):
    for argument in sys.argv[1:] or ["1"]:
        check(int(argument))
