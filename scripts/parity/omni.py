"""Compares the omni families' `eyas features` with transformers: pictures, clips, sounds, and clips with sound."""

import random
import tempfile
from pathlib import Path

import librosa
import torch
from common import ANSWER, TINY, clip, compare, decode, error, features, media, picture, run_decoder, sound, user
from PIL import Image
from transformers import AutoTokenizer

ROLES = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "audio_token": "<|audio_pad|>",
         "vision_bos_token": "<|vision_start|>", "vision_eos_token": "<|vision_end|>",
         "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
TEMPLATE = """{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{ message.content }}
{%- else %}{%- for part in message.content %}
{%- if part.type == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif part.type == 'video' %}{{ '<|vision_start|><|video_pad|><|vision_end|>' }}
{%- elif part.type == 'audio' %}{{ '<|audio_start|><|audio_pad|><|audio_end|>' }}
{%- else %}{{ part.text }}{%- endif %}{%- endfor %}{%- endif %}{{ '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"""


def omni_tokenizer(folder):
    """The embedded tokenizer with the tokens of sound."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    tokenizer.add_special_tokens({"additional_special_tokens": list(ROLES.values())}, replace_extra_special_tokens=False)
    tokenizer.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, extra_special_tokens=ROLES)
    return tokenizer, {role: tokenizer.convert_tokens_to_ids(token) for role, token in ROLES.items()}


def sounds_of(messages, heard):
    """Files of sounds, and of clips' sound tracks where they are `heard`, in order."""
    parts = [part for m in messages if not isinstance(m["content"], str) for part in m["content"]]
    return [part.get("audio") or part["video"] + ".wav"
            for part in parts if part["type"] == "audio" or (heard and part["type"] == "video")]


def conversations(folder, rng, frame):
    """-> those whose clips are looked at only, those whose clips are heard too; `fps` of a clip counts for its record."""
    rate = dict(fps=rng.choice([1, 2, 4]))
    p = lambda name: ("image", picture(folder, name, rng))  # noqa: E731
    s = lambda name, seconds: ("audio", sound(folder, name, rng, seconds))  # noqa: E731
    v = lambda name, heard=0, **extra: ("video", clip(folder, name, rng, frame, seconds_of_sound=heard), extra)  # noqa: E731
    plain = {
        "text": [{"role": "user", "content": "Count from two to nine."}, ANSWER],
        "sound": [user(s("a.wav", rng.uniform(0.05, 0.9))), ANSWER],
        "long": [user(s("b.wav", rng.uniform(2, 11))), ANSWER],
        "sounds": [user(s("c.wav", rng.uniform(0.1, 0.7)), s("d.wav", rng.uniform(1, 4))), ANSWER,
                   user(s("e.wav", rng.uniform(0.1, 3)), text="And this?"), ANSWER],
        "short": [user(s("f.wav", rng.uniform(0.1, 0.4)), s("g.wav", rng.uniform(0.4, 0.9))), ANSWER],
        "picture": [user(p("h.png"), p("i.png")), ANSWER],
        "clip": [user(v("j.mov")), ANSWER, user(text="Why?"), ANSWER],
        "rate": [user(v("u.mov", **rate)), ANSWER],
        "mixed": [user(p("k.png"), s("l.wav", 1.3), v("m.mov"), p("n.png"), s("o.wav", 0.4)), ANSWER],
    }
    heard = {
        "heard": [user(v("p.mov", rng.uniform(0.5, 6))), ANSWER],
        "heard-rate": [user(v("w.mov", rng.uniform(0.5, 3), **rate)), ANSWER],
        "all": [user(s("q.wav", 2.2), v("r.mov", rng.uniform(0.3, 4)), p("s.png")), ANSWER,
                user(v("t.mov", rng.uniform(1, 3)), text="And this?"), ANSWER],
    }
    return plain, heard


def expected(model, processor, messages, folder, heard):
    clips = [decode(folder / name) for name in media(messages, "video")]
    sounds = sounds_of(messages, heard)
    extra = dict(images=[Image.open(folder / name) for name in media(messages, "image")] or None)
    if clips:
        rates = [dict(fps=part["fps"]) for m in messages for part in m["content"] if isinstance(part, dict) and "fps" in part]
        extra |= dict(*rates, videos=[torch.from_numpy(frames).permute(0, 3, 1, 2) for frames, _ in clips], do_sample_frames=True,
                      video_metadata=[dict(total_num_frames=len(frames), fps=rate) for frames, rate in clips],
                      use_audio_in_video=heard)
    if sounds:
        extra |= dict(audio=[librosa.load(folder / name, sr=16000)[0] for name in sounds])
    inputs = processor(text=[processor.apply_chat_template(messages, tokenize=False)], return_tensors="pt", **extra)
    if clips:
        inputs["use_audio_in_video"] = heard
    result, positions, states = run_decoder(model.model, lambda: model(**inputs))
    return inputs["input_ids"][0], positions, states, model.model.norm(states[-1]), result.logits[0]


def prepare(model, processor):
    """Norms and biases that matter, and the template."""
    processor.chat_template = TEMPLATE
    with torch.no_grad():
        for key, weight in model.eval().named_parameters():
            if weight.ndim == 1:
                weight.normal_(1.0 if "norm" in key or "ln_" in key else 0.0, 0.2)


def check_family(seed, build, frame):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer, ids = omni_tokenizer(folder / "model")
        model, processor = build(tokenizer, ids, rng)
        prepare(model, processor)
        model.save_pretrained(folder / "model")
        processor.save_pretrained(folder / "model")
        worst, records = 0.0, 0
        for heard, talks in enumerate(conversations(folder, rng, frame)):
            # vLLM captures states after deepstack features are added, as the hooks do here.
            flags = ["--serving", "vllm", *(["--use-audio-in-video"] if heard else [])]
            got = features(folder / "model", talks, folder, "--logits", *flags)
            for key, talk in talks.items():
                with torch.no_grad():
                    ids, positions, states, last, logits = expected(model, processor, talk, folder, bool(heard))
                try:
                    found = max(compare(got[key], ids, positions, states, last), error(got[key]["logits"], logits))
                    assert found < 1e-4, found
                except AssertionError as problem:
                    raise AssertionError(seed, key) from problem
                worst, records = max(worst, found), records + 1
        print(f"seed {seed}: {records} records, ids and positions equal, hidden states and logits within {worst:.1e}", flush=True)
