"""What the parity scripts of all families share: random media, the command, and what is compared."""

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


def clip(folder, name, rng, size=(84, 56), seconds_of_sound=0):
    """A clip whose frames need no resize if `size` is right: transformers resizes clips by torchvision, not by Pillow's rule."""
    width, height = size
    frames = rng.choice([8, 13, 24])
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


def decode_clip(path):
    """-> frames [T, h, w, 3], frames a second"""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), rate


def user(*media, text="What is this?"):
    parts = [{"type": kind, kind: name} | dict(*extra) for kind, name, *extra in media]
    return {"role": "user", "content": parts + [{"type": "text", "text": text}]}


def features(model, data, out, *flags):
    """Runs `eyas features` for all layers; -> tensors by record id."""
    command = ["node", str(ROOT / "dist/cli/main.js"), "features", "--model", str(model), "--data", str(data), "--out", str(out)]
    subprocess.run([*command, "--layers", "all", "--logits", "--media-features", *flags], check=True, stdout=subprocess.DEVNULL)
    return {path.stem: load_file(path) for path in Path(out).glob("*.safetensors")}


def residual_streams(model, decoder, inputs):
    """Runs a model; -> positions as its rotary embedding gets them, the residual stream at every boundary, logits."""
    states, positions = [], []
    hooks = [layer.register_forward_pre_hook(lambda _, a, k: states.append(a[0] if a else k["hidden_states"]), with_kwargs=True)
             for layer in decoder.layers]
    hooks.append(decoder.norm.register_forward_pre_hook(lambda _, a: states.append(a[0])))
    last = []
    hooks.append(decoder.norm.register_forward_hook(lambda _, a, out: last.append(out)))
    hooks.append(decoder.rotary_emb.register_forward_pre_hook(
        lambda _, a, k: positions.append(a[1] if len(a) > 1 else k["position_ids"]), with_kwargs=True))
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    for hook in hooks:
        hook.remove()
    return positions[0][-3:, 0], torch.stack([s[0] for s in states]), last[0][0], logits


def error(a, b):
    """Largest difference, relative to the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


def main(check):
    for argument in sys.argv[1:] or ["1"]:
        check(int(argument))
