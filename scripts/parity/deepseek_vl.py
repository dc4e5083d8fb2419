"""Compares `eyas features` with transformers on random tiny DeepSeek-VL checkpoints of the given seeds.

Every second seed gives a hybrid model; sizes, windows, tied or not and the tokenizer's bos_token vary. Each is saved in
transformers' layout and, under the original names, in DeepSeek's, whose processor has rules of its own. The whole command
runs on text and pictures of odd sizes: template, tokenizer, pixels, positions, hidden states.

    python scripts/parity/deepseek_vl.py 101 102 103

Needs torch, torchvision, transformers 5.18, pillow and av; run `npm run bootstrap` first.
"""

import random
import sys
import tempfile
from pathlib import Path

import torch
from common import ANSWER, TINY, compare, error, features, main, media, picture, run_decoder, user
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
from deepseek_vl_model import (  # noqa: E402
    inputs_of,
    make_model,
    make_processor,
    make_tokenizer,
    original_inputs_of,
    save_original,
)


def text_config(rng):
    heads, kv = rng.choice([(4, 2), (6, 2), (4, 1), (4, 4)])
    dim = rng.choice([8, 16])
    return dict(hidden_size=heads * dim, head_dim=dim, intermediate_size=rng.choice([64, 88]),
                num_hidden_layers=rng.choice([7, 8]), num_attention_heads=heads, num_key_value_heads=kv,
                rms_norm_eps=rng.choice([1e-5, 1e-6]),
                rope_parameters=dict(rope_type="default", rope_theta=rng.choice([1e4, 1e6])))


def towers(rng, hybrid):
    """Configs of SigLIP and SAM; only sizes that both layouts can name."""
    channels = rng.choice([4, 6, 8])
    patch = rng.choice([4, 7])
    vision = dict(hidden_size=4 * channels, intermediate_size=8 * channels, num_hidden_layers=rng.choice([1, 2, 3]),
                  num_attention_heads=rng.choice([2, 4]), image_size=patch * rng.choice([5, 6, 8]), patch_size=patch,
                  hidden_act="gelu", vision_use_head=rng.random() < 0.5)
    if not hybrid:
        return vision, None
    heads, large = rng.choice([2, 3]), rng.choice([5, 8])
    depth = rng.choice([2, 4])
    sam = dict(hidden_size=heads * rng.choice([4, 6]), num_attention_heads=heads, num_hidden_layers=depth, patch_size=large,
               image_size=large * rng.choice([7, 10, 12, 31]), window_size=rng.choice([3, 4, 7]), output_channels=channels,
               global_attn_indexes=sorted(rng.sample(range(depth), rng.choice([1, 2]))))
    return vision, sam


def conversations(folder, rng):
    def image(name):
        return ("image", picture(folder, name, rng))
    return {
        "text": [{"role": "user", "content": "Count from two to nine. "}, ANSWER, {"role": "user", "content": "Why?"}, ANSWER],
        "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Count!"}, ANSWER],
        "one": [user(image("a.png")), ANSWER],
        "several": [user(image("b.png"), image("c.png")), ANSWER, user(image("d.png"), text="And this?"), ANSWER],
    }


def expected(model, inputs):
    result, positions, states = run_decoder(model.model.language_model, lambda: model(**inputs))
    last = model.model.language_model.norm(states[-1])
    return inputs["input_ids"][0], positions, states, last, result.logits[0]


def check(seed):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    hybrid = seed % 2 == 1
    tokenizer = make_tokenizer(TINY, rng.random() < 0.5)
    model = make_model(text_config(rng), *towers(rng, hybrid), tokenizer, rng.random() < 0.5, rng.choice([0, 13]))
    processor = make_processor(model, tokenizer, resample=rng.choice([2, 3]))
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        model.save_pretrained(folder / "transformers")
        processor.save_pretrained(folder / "transformers")
        save_original(model, tokenizer, folder / "original")
        talks = conversations(folder, rng)
        worst = 0.0
        for layout in ("transformers", "original"):
            got = features(folder / layout, talks, folder)
            for key, messages in talks.items():
                images = [Image.open(folder / name) for name in media(messages, "image")]
                inputs = (inputs_of(processor, messages, images) if layout == "transformers"
                          else original_inputs_of(model, tokenizer, messages, images))
                ids, positions, states, last, logits = expected(model, inputs)
                try:
                    worst = max(worst, compare(got[key], ids, positions, states, last))
                except AssertionError as problem:
                    raise AssertionError(seed, layout, key) from problem
                worst = max(worst, error(model.lm_head(got[key]["last_hidden_states"]), logits))
        assert worst < 1e-4, (seed, worst)
        print(f"seed {seed}: {'hybrid' if hybrid else 'plain'}, both layouts, {len(talks)} records: ids and positions equal, "
              f"hidden states and logits within {worst:.1e}", flush=True)


if __name__ == "__main__":
    main(check)
