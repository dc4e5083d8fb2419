"""transformers' side of scripts/bench/target.mjs: makes the random checkpoint, then answers one JSON request a line.

    {"do": "make", "family": "qwen2_5_vl" | "qwen3_vl_moe", "folder": …}     a mid-size checkpoint and pictures
    {"do": "load", "dtype": …}                                               the model
    {"do": "preprocess", "pil": true | false}      all pictures, from files to pixel rows, by the Pillow or torchvision variant
    {"do": "prefill"}                                                        the conversation, with every hidden state

Every answer holds the seconds that the work took; prefill's also a few of its numbers, to compare.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLImageProcessorPil,
    Qwen2VLVideoProcessor,
    Qwen3VLMoeConfig,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

TINY = Path(__file__).resolve().parents[2] / "models" / "tiny-qwen2.5-vl"
PICTURES = 3
WORDS = 300


def config_of(family, tokenizer):
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>") for name, token in
           (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"), ("vision_end", "vision_end"))}
    text = dict(vocab_size=32000, hidden_size=1024, num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=4,
                head_dim=64, intermediate_size=2816, max_position_embeddings=32768,
                eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"), bos_token_id=None, pad_token_id=None)
    if family == "qwen2_5_vl":
        text["rope_parameters"] = dict(rope_type="default", rope_theta=1e6, mrope_section=[8, 12, 12])
        vision = dict(depth=8, hidden_size=640, intermediate_size=1728, num_heads=10, patch_size=14, out_hidden_size=1024,
                      window_size=112, fullatt_block_indexes=[3, 7], tokens_per_second=2)
        return Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    text |= dict(num_experts=32, num_experts_per_tok=4, moe_intermediate_size=384,
                 rope_parameters=dict(rope_type="default", rope_theta=5e6, mrope_section=[12, 10, 10]))
    vision = dict(depth=8, hidden_size=640, intermediate_size=2560, num_heads=10, patch_size=16, out_hidden_size=1024,
                  num_position_embeddings=2304, deepstack_visual_indexes=[1, 3, 5])
    return Qwen3VLMoeConfig(text_config=text, vision_config=vision, **ids)


def make(family, folder):
    torch.manual_seed(0)
    folder = Path(folder)
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    model = AutoModelForImageTextToText.from_config(config_of(family, tokenizer))
    model.save_pretrained(folder)
    template = (TINY / "chat_template.jinja").read_text()
    if family == "qwen2_5_vl":
        parts = Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor()
        Qwen2_5_VLProcessor(*parts, chat_template=template).save_pretrained(folder)
    else:
        look = dict(patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        parts = Qwen2VLImageProcessor(**look), tokenizer, Qwen3VLVideoProcessor(**look)
        Qwen3VLProcessor(*parts, chat_template=template).save_pretrained(folder)
    generator = np.random.default_rng(0)
    for i in range(PICTURES):
        noise = Image.fromarray(generator.integers(0, 256, (60, 80, 3), np.uint8))
        noise.resize((640, 480), Image.BICUBIC).save(folder / f"{i}.jpg", quality=90)
    content = [{"type": "image", "image": f"{i}.jpg"} for i in range(PICTURES)]
    content.append({"type": "text", "text": "What is in the pictures? " * (WORDS // 6)})
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "A red circle."}]
    (folder / "record.jsonl").write_text(json.dumps({"id": "record", "messages": messages}))


class Peer:
    def load(self, dtype, folder):
        self.folder = Path(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.image_processor = AutoImageProcessor.from_pretrained(folder)
        self.pil_processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
        processor = AutoProcessor.from_pretrained(folder)
        messages = json.loads((self.folder / "record.jsonl").read_text())["messages"]
        text = processor.apply_chat_template(messages, tokenize=False)
        self.inputs = processor(text=[text], images=self.pictures(), return_tensors="pt").to(self.model.dtype)
        return {"tokens": self.inputs["input_ids"].shape[1]}

    def pictures(self):
        return [Image.open(self.folder / f"{i}.jpg").convert("RGB") for i in range(PICTURES)]

    def preprocess(self, pil):
        (self.pil_processor if pil else self.image_processor)(self.pictures(), return_tensors="pt")
        return {"images": PICTURES}

    def prefill(self):
        with torch.no_grad():
            out = self.model.model(**self.inputs, output_hidden_states=True, use_cache=False)
        return {"sample": out.last_hidden_state[0, -1].float().tolist()}


def main():
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        task = request.pop("do")
        action = make if task == "make" else getattr(peer, task)
        start = time.perf_counter()
        answer = action(**request) or {}
        print(json.dumps({**answer, "seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main()
