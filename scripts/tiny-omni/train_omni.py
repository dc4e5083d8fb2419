"""Train the tiny omni target from scratch on a CPU (bfloat16 weights with float32 masters).

    OMP_WAIT_POLICY=PASSIVE python train_omni.py --out ../../models/tiny-qwen3-omni --minutes 45

First the vision tower and the audio encoder learn to name what each of their tokens covers; then they rest and the
decoder learns to answer, small scenes and recordings first, with the loss on the assistant's tokens only.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import siblings  # noqa: F401
import torch
import torch.nn.functional as F
from naming import pretrain_towers
from omni_batches import Batcher
from omni_blueprint import VOCABULARY, build_model, build_processor
from omni_faster import BALANCE, use_faster_sums
from optimizer import Optimizer
from pace import Pace
from saving import save
from scenes import COLOURS, SHAPES, SIZES
from sounds import KINDS, LENGTHS, LEVELS, PITCHES

RATE = 1.5e-3
FOCUS = 2.0  # loss weight of the words that name what is seen or heard
BALANCE_WEIGHT = 0.01


def train(model, batcher, args, log):
    for tower in (model.visual, model.audio_tower):
        tower.requires_grad_(False)  # an untrained decoder would ruin it
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    matrices = [n for n, w in weights.items() if w.ndim >= 2 and "layers." in n and "gate.weight" not in n]
    optimizer = Optimizer([weights[n] for n in matrices], [w for n, w in weights.items() if n not in matrices])
    focus = torch.ones(VOCABULARY)
    for words in (COLOURS, SHAPES, SIZES, LENGTHS, LEVELS, PITCHES, KINDS):
        for word in words:
            focus[batcher.tokenizer(" " + word)["input_ids"]] = FOCUS
    pace, start, saved, step, tokens, running, curve = Pace(), time.time(), time.time(), 0, 0, [], []
    while (done := (time.time() - start) / (60 * args.minutes)) < 1:
        inputs, labels = batcher.next(stage=done / args.easy)
        labels = labels[:, 1:]
        keep = labels != -100
        BALANCE.clear()
        logits = model(use_cache=False, **inputs).logits[:, :-1][keep]
        losses = F.cross_entropy(logits.float(), labels[keep], reduction="none")
        weight = focus[labels[keep]]
        loss = (losses * weight).sum() / weight.sum() + BALANCE_WEIGHT * sum(BALANCE) / len(BALANCE)
        loss.backward()
        optimizer.step(RATE * min(1, (step + 1) / 100) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * done))))
        step += 1
        tokens += inputs["input_ids"].numel()
        pace.step(inputs["input_ids"].numel())
        running.append(losses.detach().mean().item())
        if step % 100 == 0:
            curve.append(
                {"step": step, "seconds": round(time.time() - start), "loss": round(sum(running) / len(running), 4)}
            )
            speed, balance = tokens / (time.time() - start), sum(BALANCE).item() / len(BALANCE)
            log(f"step {step} loss {curve[-1]['loss']:.4f} balance {balance:.2f} {speed:.0f} tokens/s")
            running = []
        if time.time() - saved > 240:
            save(model, args.out)
            saved = time.time()
    return {"steps": step, "tokens": tokens, "curve": curve}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=45, help="for the decoder")
    parser.add_argument("--tower-minutes", type=float, default=4)
    parser.add_argument("--easy", type=float, default=0.45, help="part of the time in which scenes and recordings grow")
    parser.add_argument("--record", type=Path, help="where to write what the run did, as JSON")
    args = parser.parse_args()
    torch.manual_seed(0)
    begin = time.time()

    def log(text):
        print(f"[{time.time() - begin:6.0f}s] {text}", flush=True)

    use_faster_sums()
    processor = build_processor()
    model = build_model(processor.tokenizer).bfloat16().train()
    save(processor, args.out)
    log(f"{len(processor.tokenizer)} tokens, {model.num_parameters() / 1e6:.2f}M parameters")
    pretrain_towers(model, processor, args.tower_minutes, RATE, log)
    save(model, args.out)
    record = train(model, Batcher(processor, random.Random(3)), args, log)
    save(model, args.out)
    record = {"parameters": model.num_parameters(), "seconds": round(time.time() - begin), **record}
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")
    log("saved")


if __name__ == "__main__":
    main()
