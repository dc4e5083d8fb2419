"""EAGLE-3's training-time test as published and as Python trainers compute it: PyTorch, every row of every step.

The draft layer, its attention over step-0 keys and each later step's own key, the teacher's logits and the loss are
computed for all rows; masks take out of the loss what does not count. autograd keeps what it needs.
"""

import math

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


def norm(x, weight):
    return F.rms_norm(x, (x.shape[-1],), weight, 1e-6)


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos + turned * sin


def repeat_heads(x, groups):
    batch, heads, length, width = x.shape
    return x[:, :, None].expand(batch, heads, groups, length, width).reshape(batch, heads * groups, length, width)


class DenseDraft(torch.nn.Module):
    """Parameters are named as in the exported checkpoint, dots replaced."""

    def __init__(self, weights, heads, kv_heads, theta=1e6):
        super().__init__()
        for name, weight in weights.items():
            self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(weight))
        self.heads, self.kv_heads = heads, kv_heads
        self.head_dim = weights["midlayer.self_attn.q_proj.weight"].shape[0] // heads
        device = next(iter(weights.values())).device
        self.inverse = theta ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device) / self.head_dim)
        # Bytes of a step's scores beyond which autograd does not keep them but computes them again, some heads at a
        # time: all heads of 8,192 tokens would need more memory than 24 GB.
        self.recompute_beyond = 1 << 30

    def get(self, name):
        return getattr(self, name.replace(".", "_") + "_weight")

    def linear(self, x, name):
        return F.linear(x, self.get(name))

    def tables(self, positions, dtype):
        angle = positions[:, None].float() * self.inverse
        angle = torch.cat([angle, angle], -1)
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def split(self, x, heads):
        batch, length, _ = x.shape
        return x.view(batch, length, heads, self.head_dim).transpose(1, 2)

    def attend(self, q, keys, values, mask):
        scale = 1 / math.sqrt(self.head_dim)
        length = q.shape[2]
        scores = [q @ keys[0].transpose(-1, -2) * scale + mask]
        scores += [(q * k).sum(-1, keepdim=True) * scale for k in keys[1:]]
        weight = torch.cat(scores, -1).softmax(-1, dtype=torch.float32).to(q.dtype)
        out = weight[..., :length] @ values[0]
        for i, v in enumerate(values[1:]):
            out = out + weight[..., length + i:length + i + 1] * v
        return out

    def forward(self, hidden, embedding, positions, mask, keys, values):
        prefix = "midlayer.self_attn."
        x = torch.cat([norm(embedding, self.get("midlayer.input_layernorm")), norm(hidden, self.get("midlayer.hidden_norm"))], -1)
        cos, sin = self.tables(positions, x.dtype)
        q = rotate(self.split(self.linear(x, prefix + "q_proj"), self.heads), cos, sin)
        groups = self.heads // self.kv_heads
        keys.append(repeat_heads(rotate(self.split(self.linear(x, prefix + "k_proj"), self.kv_heads), cos, sin), groups))
        values.append(repeat_heads(self.split(self.linear(x, prefix + "v_proj"), self.kv_heads), groups))
        if len(keys) == 1:
            out = F.scaled_dot_product_attention(q, keys[0], values[0], is_causal=True)
        elif q.shape[1] * q.shape[2] ** 2 * 4 > self.recompute_beyond:
            at_once = max(1, self.recompute_beyond // (q.shape[2] ** 2 * 4))
            parts = []
            for i in range(0, q.shape[1], at_once):
                some = [[x[:, i:i + at_once] for x in xs] for xs in ([q], keys, values)]
                parts.append(checkpoint(self.attend, some[0][0], *some[1:], mask, use_reentrant=False))
            out = torch.cat(parts, 1)
        else:
            out = self.attend(q, keys, values, mask)
        hidden = hidden + self.linear(out.transpose(1, 2).flatten(2), prefix + "o_proj")
        x = norm(hidden, self.get("midlayer.post_attention_layernorm"))
        gated = F.silu(self.linear(x, "midlayer.mlp.gate_proj")) * self.linear(x, "midlayer.mlp.up_proj")
        return hidden + self.linear(gated, "midlayer.mlp.down_proj")


def ahead(x, by):
    """x of the slots `by` ahead along the second dimension, zero behind the end."""
    return F.pad(x[:, by:], (0, 0) * (x.ndim - 2) + (0, by)) if by else x


def dense_ttt(draft, batch, steps, decay):
    """Losses of the steps and their total; `batch` holds ids, assistant mask, target states, embedding and head."""
    ids, assistant = batch["ids"], batch["assistant"]
    with torch.no_grad():
        logits = F.linear(batch["last"], batch["target_head"])
        chosen = batch["in_draft"][logits.argmax(-1)]
        teacher = logits[..., batch["draft_ids"]].float().softmax(-1)
        del logits
    hidden = draft.linear(batch["features"], "fc")
    length = ids.shape[1]
    mask = torch.full((length, length), torch.finfo(hidden.dtype).min, dtype=hidden.dtype, device=ids.device).triu(1)
    positions = torch.arange(length, device=ids.device)
    keys, values, losses = [], [], []
    counted = torch.ones_like(assistant)
    for s in range(steps):
        # Slot i predicts token i + 2 + s; the draft works on tokens of the same answer only.
        counted = counted * ahead(assistant, 1 + s) if s else ahead(assistant, 1)
        rows = counted * ahead(assistant, 2 + s) * ahead(chosen, 1 + s)
        embedding = F.embedding(ahead(ids, 1 + s), batch["embed"])
        hidden = draft(hidden, embedding, positions + s, mask, keys, values)
        out = draft.linear(norm(hidden, draft.get("norm")), "lm_head").float()
        row_loss = -(ahead(teacher, 1 + s) * out.log_softmax(-1)).sum(-1)
        losses.append((row_loss * rows).sum() / rows.sum().clamp(min=1))
    return losses, sum(decay ** s * loss for s, loss in enumerate(losses))


class MasterAdamW:
    """AdamW on float32 masters of the parameters, gradients clipped by their global norm."""

    def __init__(self, parameters, clip=0.5):
        self.parameters = list(parameters)
        self.low = self.parameters[0].dtype != torch.float32
        self.masters = [p.detach().float().clone().requires_grad_() for p in self.parameters] if self.low else self.parameters
        self.adamw = torch.optim.AdamW(self.masters, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        self.clip = clip

    def step(self, lr):
        if self.low:
            for master, parameter in zip(self.masters, self.parameters):
                master.grad = parameter.grad.float()
                parameter.grad = None
        norm = torch.nn.utils.clip_grad_norm_(self.masters, self.clip)
        for group in self.adamw.param_groups:
            group["lr"] = lr
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        if self.low:
            with torch.no_grad():
                for master, parameter in zip(self.masters, self.parameters):
                    parameter.copy_(master)
        return norm.item()
