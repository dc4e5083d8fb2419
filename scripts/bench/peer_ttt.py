"""The TTT optimizer step of scripts/bench/ttt-step.mjs as the Python trainers compute it: PyTorch, every row of every step.

Same shapes, same seed-free synthetic inputs: step-0 keys are attended to causally, the keys of later steps by their own
slot, logits and soft targets over the draft vocabulary for all rows, AdamW on float32 weights. Prints one JSON line.

    python scripts/bench/peer_ttt.py --hidden 1024 --prompt 1024 --answer 160 [--dtype bfloat16]
"""

import argparse
import json
import math
import time

import torch
import torch.nn.functional as F


def arguments():
    parser = argparse.ArgumentParser()
    defaults = dict(hidden=1024, intermediate=2816, heads=16, kv_heads=4, head_dim=64, vocab=32000, draft_vocab=8000,
                    prompt=1024, answer=160, sequences=1, steps=7, repeat=3, threads=0)
    for name, value in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    return parser.parse_args()


def norm(x, weight):
    return F.rms_norm(x, (x.shape[-1],), weight, 1e-6)


def rotate(x, positions, inverse):
    angle = positions[:, None] * inverse
    angle = torch.cat([angle, angle], -1)
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * angle.cos().to(x.dtype) + turned * angle.sin().to(x.dtype)


class Draft(torch.nn.Module):
    def __init__(self, a):
        super().__init__()
        h, q, kv = a.hidden, a.heads * a.head_dim, a.kv_heads * a.head_dim
        shapes = dict(fc=(h, 3 * h), q=(q, 2 * h), k=(kv, 2 * h), v=(kv, 2 * h), o=(h, q), gate=(a.intermediate, h),
                      up=(a.intermediate, h), down=(h, a.intermediate), head=(a.draft_vocab, h))
        for name, shape in shapes.items():
            self.register_parameter(name, torch.nn.Parameter(torch.randn(shape) * 0.02))
        for name in ("n_in", "n_hidden", "n_post", "n_out"):
            self.register_parameter(name, torch.nn.Parameter(torch.ones(h)))
        self.a = a
        self.register_buffer("inverse", 1e6 ** (-torch.arange(0, a.head_dim, 2) / a.head_dim))

    def heads(self, x, count):
        batch, length, _ = x.shape
        return x.view(batch, length, count, self.a.head_dim).transpose(1, 2)

    def step(self, hidden, embedding, positions, keys, values):
        a = self.a
        z = torch.cat([norm(embedding, self.n_in), norm(hidden, self.n_hidden)], -1)
        q = rotate(self.heads(z @ self.q.T, a.heads), positions, self.inverse)
        groups = a.heads // a.kv_heads
        keys.append(rotate(self.heads(z @ self.k.T, a.kv_heads), positions, self.inverse).repeat_interleave(groups, 1))
        values.append(self.heads(z @ self.v.T, a.kv_heads).repeat_interleave(groups, 1))
        if len(keys) == 1:
            out = F.scaled_dot_product_attention(q, keys[0], values[0], is_causal=True)
        else:
            length = q.shape[2]
            scores = q @ keys[0].transpose(-1, -2) / math.sqrt(a.head_dim)
            hide = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
            scores = scores.masked_fill(hide, float("-inf"))
            own = [(q * k).sum(-1, keepdim=True) / math.sqrt(a.head_dim) for k in keys[1:]]
            weight = torch.cat([scores, *own], -1).softmax(-1)
            out = weight[..., :length] @ values[0]
            for i, v in enumerate(values[1:]):
                out = out + weight[..., length + i:length + i + 1] * v
        hidden = hidden + out.transpose(1, 2).flatten(2) @ self.o.T
        z = norm(hidden, self.n_post)
        return hidden + (F.silu(z @ self.gate.T) * (z @ self.up.T)) @ self.down.T


def main():
    a = arguments()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    length = a.prompt + a.answer
    draft = Draft(a)
    optimizer = torch.optim.AdamW(draft.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    table = torch.randn(a.vocab, a.hidden) * 0.02
    target_head = torch.randn(a.vocab, a.hidden) * 0.02
    features = torch.randn(a.sequences, length, 3 * a.hidden)
    last = torch.randn(a.sequences, length, a.hidden)
    ids = torch.randint(0, a.vocab, (a.sequences, length))
    assistant = torch.zeros(length)
    assistant[a.prompt:] = 1
    positions = torch.arange(length, dtype=torch.float32)
    low = a.dtype == "bfloat16"
    if low:
        table, target_head, features, last = (x.bfloat16() for x in (table, target_head, features, last))

    def shift(x, by):
        return F.pad(x[:, by:], (0, 0) * (x.ndim - 2) + (0, by)) if by else x

    def train_step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            with torch.no_grad():
                logits = last @ target_head.T
                logits.argmax(-1)
                teacher = logits[..., :a.draft_vocab].float().softmax(-1)
            hidden, keys, values, loss = features @ draft.fc.T, [], [], 0.0
            for s in range(a.steps):
                hidden = draft.step(hidden, F.embedding(shift(ids, s + 1), table), positions + s, keys, values)
                out = norm(hidden, draft.n_out) @ draft.head.T
                mask = F.pad(assistant[s + 1:], (0, s + 1))
                row = -(shift(teacher, s + 1) * out.float().log_softmax(-1)).sum(-1)
                loss = loss + 0.8 ** s * (row * mask).sum() / mask.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(draft.parameters(), 0.5)
        optimizer.step()

    train_step()
    times = []
    for _ in range(a.repeat):
        start = time.perf_counter()
        train_step()
        times.append(time.perf_counter() - start)
    print(json.dumps(dict(seconds=min(times), torch=torch.__version__, threads=torch.get_num_threads(), dtype=a.dtype)))


if __name__ == "__main__":
    main()
