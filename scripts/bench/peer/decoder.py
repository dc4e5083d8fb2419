"""The Python side of `prefill` at the size of a published text decoder: random weights, made where they are used."""

import os

import torch
from transformers import Qwen2Config, Qwen2Model

from serve import DEVICE, Clock, serve

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
state = {}


def load(config, tokens, dtype, aux_layers):
    config = Qwen2Config(**config)
    config._attn_implementation = "sdpa"
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device(DEVICE):
        state["model"] = Qwen2Model(config).eval()
        state["ids"] = ((torch.arange(tokens) * 7919 + 1) % config.vocab_size)[None]
    state["kept"] = {}
    # Hooks keep what a trainer needs; all hidden states would cost the peer memory and time.
    for layer in aux_layers:
        keep = lambda module, args, output, layer=layer: state["kept"].__setitem__(layer, output)
        state["model"].layers[layer - 1].register_forward_hook(keep)


def prefill():
    clock = Clock()
    with torch.no_grad():
        last = state["model"](input_ids=state["ids"], use_cache=False).last_hidden_state[0, -1].float().tolist()
    return dict(seconds=clock.seconds(), finite=all(abs(x) < float("inf") for x in last))


serve(load=load, prefill=prefill)
