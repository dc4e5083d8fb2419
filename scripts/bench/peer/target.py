"""The Python side of `prefill`, `preprocess` and `end-to-end`: transformers, and random checkpoints of a middle size."""

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
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

from dense_ttt import DenseDraft, MasterAdamW, dense_ttt
from serve import serve

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
TINY = Path(__file__).resolve().parents[3] / "models" / "tiny-qwen2.5-vl"
state = {}


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


def make(folder, family):
    """A checkpoint and its processor."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    AutoModelForImageTextToText.from_config(config_of(family, tokenizer)).save_pretrained(folder)
    template = (TINY / "chat_template.jinja").read_text()
    if family == "qwen2_5_vl":
        parts = Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor()
        Qwen2_5_VLProcessor(*parts, chat_template=template).save_pretrained(folder)
    else:
        look = dict(patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        parts = Qwen2VLImageProcessor(**look), tokenizer, Qwen3VLVideoProcessor(**look)
        Qwen3VLProcessor(*parts, chat_template=template).save_pretrained(folder)


def draw(folder, names, width, height):
    """JPEG pictures of smooth noise."""
    generator = np.random.default_rng(0)
    for name in names:
        noise = Image.fromarray(generator.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
        noise.resize((width, height), Image.BICUBIC).save(Path(folder) / name, quality=90)


def load(folder, dtype=None):
    state.update(folder=Path(folder), image_processor=AutoImageProcessor.from_pretrained(folder),
                 pil_processor=Qwen2VLImageProcessorPil.from_pretrained(folder), processor=AutoProcessor.from_pretrained(folder))
    if dtype:
        state["model"] = AutoModelForImageTextToText.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


def open_pictures(names):
    return [Image.open(state["folder"] / name).convert("RGB") for name in names]


def preprocess(names, pillow):
    start = time.perf_counter()
    processor = state["pil_processor"] if pillow else state["image_processor"]
    pixels = processor(open_pictures(names), return_tensors="pt")["pixel_values"]
    return dict(seconds=time.perf_counter() - start, rows=pixels.shape[0], sum=pixels.double().sum().item())


def inputs_of(messages):
    """A conversation as the model's inputs; pictures are named in it."""
    names = [part["image"] for message in messages if not isinstance(message["content"], str)
             for part in message["content"] if part["type"] == "image"]
    text = state["processor"].apply_chat_template(messages, tokenize=False)
    inputs = state["processor"](text=[text], images=open_pictures(names) or None, return_tensors="pt")
    return inputs.to(state["model"].dtype)


def read(messages):
    state["inputs"] = inputs_of(messages)
    return dict(tokens=state["inputs"]["input_ids"].shape[1])


def forward(inputs):
    with torch.no_grad():
        return state["model"].model(**inputs, output_hidden_states=True, use_cache=False)


def prefill():
    start = time.perf_counter()
    out = forward(state["inputs"])
    seconds = time.perf_counter() - start
    return dict(seconds=seconds, sample=out.last_hidden_state[0, -1].float().tolist())


def load_draft(path, heads, kv_heads, steps, aux_layers):
    tensors = load_file(path)
    dtype = state["model"].dtype
    weights = {name[len("draft."):]: t.to(dtype) for name, t in tensors.items() if name.startswith("draft.")}
    state.update(draft=DenseDraft(weights, heads, kv_heads), draft_ids=tensors["draft_ids"].long(), steps=steps,
                 aux_layers=aux_layers)
    state["optimizer"] = MasterAdamW(state["draft"].parameters())


def train(messages, loss_mask, lr):
    """One optimizer step from a conversation on."""
    start = time.perf_counter()
    model = state["model"]
    inputs = inputs_of(messages)
    out = forward(inputs)
    head = model.get_output_embeddings().weight
    batch = dict(ids=inputs["input_ids"], assistant=torch.tensor([loss_mask], dtype=torch.float32), draft_ids=state["draft_ids"],
                 in_draft=torch.ones(head.shape[0]), features=torch.cat([out.hidden_states[i] for i in state["aux_layers"]], -1),
                 last=out.last_hidden_state, embed=model.get_input_embeddings().weight.detach(), target_head=head.detach())
    losses, total = dense_ttt(state["draft"], batch, state["steps"], 0.8)
    total.backward()
    norm = state["optimizer"].step(lr)
    return dict(seconds=time.perf_counter() - start, loss=total.item(), step_loss=[loss.item() for loss in losses], grad_norm=norm)


class FirstToken:
    """Stopping criterion that never stops: it notes when the first token was there."""

    def __call__(self, input_ids, scores, **kwargs):
        self.time = getattr(self, "time", None) or time.perf_counter()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


def generate(messages, max_new_tokens):
    """Greedy decoding; the seconds leave out the prompt and the first token."""
    names = [part["image"] for message in messages if not isinstance(message["content"], str)
             for part in message["content"] if part["type"] == "image"]
    text = state["processor"].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = state["processor"](text=[text], images=open_pictures(names) or None, return_tensors="pt").to(state["model"].dtype)
    first = FirstToken()
    with torch.no_grad():
        ids = state["model"].generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens, stopping_criteria=[first])
    return dict(seconds=time.perf_counter() - first.time, ids=ids[0, inputs["input_ids"].shape[1]:].tolist())


serve(make=make, draw=draw, load=load, preprocess=preprocess, read=read, prefill=prefill, load_draft=load_draft, train=train,
      generate=generate)
