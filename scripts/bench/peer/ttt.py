"""The Python side of the `ttt` suite."""

import os

import torch
from safetensors.torch import load_file

from dense_ttt import DenseDraft, MasterAdamW, dense_ttt
from serve import DEVICE, Clock, serve

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
state = {}


def load(folder, shape, dtype, specforge=None, compiled=False):
    tensors = load_file(os.path.join(folder, "step.safetensors"), device=DEVICE)
    dtype = getattr(torch, dtype)
    weights = {name[len("draft."):-len(".weight")] + ".weight": t.to(dtype) for name, t in tensors.items() if name.startswith("draft.")}
    assistant = torch.zeros(1, shape["tokens"], device=DEVICE)
    assistant[:, -shape["supervised"]:] = 1
    if specforge:
        # It also counts rows whose target lies past the sequence.
        assistant[:, -shape["steps"] - 2:] = 0
    in_draft = torch.zeros(shape["vocab"], device=DEVICE)
    in_draft[tensors["draft_ids"].long()] = 1
    state["batch"] = dict(
        ids=tensors["input_ids"].long()[None], assistant=assistant, in_draft=in_draft, draft_ids=tensors["draft_ids"].long(),
        features=tensors["aux_hidden_states"].to(dtype)[None], last=tensors["last_hidden_states"].to(dtype)[None],
        embed=tensors["embed_tokens"].to(dtype), target_head=tensors["target_lm_head"].to(dtype))
    state["steps"] = shape["steps"]
    if specforge:
        from specforge_ttt import SpecForgeStep
        state["model"] = SpecForgeStep(specforge, weights, shape, state["batch"])
    else:
        state["model"] = DenseDraft(weights, shape["heads"], shape["kv_heads"])
        if DEVICE != "cpu":
            # All scores of the seven steps where they fit: faster than computing them again.
            state["model"].recompute_beyond = 1 << 50
        if compiled:
            state["model"].compile(dynamic=False)
    state["optimizer"] = MasterAdamW(p for p in state["model"].parameters() if p.requires_grad)


def step(lr):
    clock = Clock()
    if isinstance(state["model"], DenseDraft):
        losses, total = dense_ttt(state["model"], state["batch"], state["steps"], 0.8)
    else:
        losses, total = state["model"].losses(0.8)
    total.backward()
    norm = state["optimizer"].step(lr)
    return dict(seconds=clock.seconds(), loss=total.item(), step_loss=[loss.item() for loss in losses], grad_norm=norm)


serve(load=load, step=step)
