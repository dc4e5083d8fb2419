"""Train the tiny target from scratch on a CPU (bfloat16 weights with float32 masters).

    OMP_WAIT_POLICY=PASSIVE python train.py --out ../../models/tiny-qwen2.5-vl --minutes 31

First the vision tower learns to name what each merged token covers; then it rests and the decoder learns to answer,
small scenes first, with the loss on the assistant's tokens only.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from batches import Batcher, patchify, stack_pictures
from blueprint import HIDDEN, VOCABULARY, build_model, build_processor
from faster import use_faster_sums
from optimizer import Optimizer
from saving import save
from scenes import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, degrade, draw, random_scene

RATE = 1.5e-3
FOCUS = 2.0  # loss weight of the words that name what is seen


def pretrain_vision(model, tokenizer, minutes, log):
    """Each merged token learns what its cell shows, in the decoder's own words.

    The classes of each question are word embeddings (" red", " circle", " top" + " left", ...), which the output layer
    shares: afterwards a picture token looks to the decoder like the sum of the words for it.
    """
    seen = [list(COLOURS), SHAPES, list(SIZES)]
    questions = [[*COLOURS, "empty"], [*SHAPES, "empty"], [*SIZES, "empty"], PLACES, list(BACKGROUNDS)]
    words = [tokenizer(" " + w)["input_ids"] for question in questions for w in question]
    chooser = torch.zeros(len(words), VOCABULARY, dtype=torch.bfloat16)
    for row, ids in enumerate(words):
        chooser[row, ids] = 1
    embedding, visual = model.get_input_embeddings().weight, model.model.visual
    optimizer = Optimizer([], [*visual.parameters(), embedding])
    rng, start, step = random.Random(11), time.time(), 0
    while (done := (time.time() - start) / (60 * minutes)) < 1:
        pictures, target = [], []
        for _ in range(64):
            scene = random_scene(rng, rng.randint(1, 6), "train")
            picture = draw(scene, rng)
            pictures.append(degrade(picture, rng) if rng.random() < 0.3 else picture)
            for cell in range(9):
                kind = scene.objects.get(cell)
                attributes = kind and (kind[1], kind[2], kind[0])
                row = [v.index(attributes[i]) if kind else len(v) for i, v in enumerate(seen)]
                target.append([*row, cell, list(BACKGROUNDS).index(scene.background)])
        target = torch.tensor(target)
        pixels, grid = stack_pictures(pictures)
        tokens = visual(patchify(pixels).bfloat16(), grid_thw=grid).pooler_output
        scores = (
            F.linear(F.rms_norm(tokens, (HIDDEN,)), chooser @ embedding).float().split([len(q) for q in questions], -1)
        )
        loss = sum(F.cross_entropy(s, target[:, i]) for i, s in enumerate(scores))
        loss.backward()
        optimizer.step(RATE * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done)))
        step += 1
        if step % 50 == 0:
            filled = target[:, 0] < len(COLOURS)
            right = [
                round((s.argmax(-1) == target[:, i])[filled].float().mean().item(), 3) for i, s in enumerate(scores)
            ]
            log(f"vision step {step} loss {loss.item():.3f} colour, shape, size, place, background {right}")
    # picture tokens enter the decoder as large as word embeddings: so far only their direction was trained
    factor = (
        embedding[[i for ids in words for i in ids]].float().norm(dim=-1).mean() / tokens.float().norm(dim=-1).mean()
    )
    with torch.no_grad():
        visual.merger.mlp[2].weight.mul_(factor)
        visual.merger.mlp[2].bias.mul_(factor)


def train(model, batcher, args, log):
    model.model.visual.requires_grad_(False)  # an untrained decoder would ruin it
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    matrices = [name for name, weight in weights.items() if weight.ndim == 2 and "layers." in name]
    optimizer = Optimizer([weights[n] for n in matrices], [w for n, w in weights.items() if n not in matrices])
    focus = torch.ones(VOCABULARY)
    for word in [*COLOURS, *SHAPES, *SIZES]:
        focus[batcher.tokenizer(" " + word)["input_ids"]] = FOCUS
    start, saved, step, tokens, running, curve = time.time(), time.time(), 0, 0, [], []
    while (done := (time.time() - start) / (60 * args.minutes)) < 1:
        inputs, labels = batcher.next(stage=done / args.easy)
        labels = labels[:, 1:].reshape(-1)
        keep = labels != -100
        hidden = model.model(use_cache=False, **inputs).last_hidden_state[:, :-1].reshape(-1, HIDDEN)
        losses = F.cross_entropy(model.lm_head(hidden[keep]).float(), labels[keep], reduction="none")
        weight = focus[labels[keep]]
        loss = (losses * weight).sum() / weight.sum()
        loss.backward()
        optimizer.step(RATE * min(1, (step + 1) / 100) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * done))))
        step += 1
        tokens += inputs["input_ids"].numel()
        running.append(losses.detach().mean().item())
        if step % 100 == 0:
            curve.append(
                {"step": step, "seconds": round(time.time() - start), "loss": round(sum(running) / len(running), 4)}
            )
            log(f"step {step} loss {curve[-1]['loss']:.4f} {tokens / (time.time() - start):.0f} tokens/s")
            running = []
        if time.time() - saved > 240:
            save(model, args.out)
            saved = time.time()
    return {"steps": step, "tokens": tokens, "curve": curve}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=31, help="for the decoder")
    parser.add_argument("--vision-minutes", type=float, default=0.8)
    parser.add_argument("--easy", type=float, default=0.45, help="part of the time in which scenes grow")
    parser.add_argument("--record", type=Path, help="where to write what the run did, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    begin = time.time()

    def log(text):
        print(f"[{time.time() - begin:6.0f}s] {text}", flush=True)

    use_faster_sums()
    processor = build_processor()
    model = build_model(processor.tokenizer).bfloat16().train()
    for part in (processor, processor.image_processor, processor.video_processor):
        save(part, args.out)
    log(f"{len(processor.tokenizer)} tokens, {model.num_parameters() / 1e6:.2f}M parameters")
    pretrain_vision(model, processor.tokenizer, args.vision_minutes, log)
    record = train(model, Batcher(processor.tokenizer, random.Random(3)), args, log)
    save(model, args.out)
    record = {"parameters": model.num_parameters(), "seconds": round(time.time() - begin), **record}
    if args.record:
        args.record.write_text(json.dumps(record, indent=1) + "\n")
    log("saved")


if __name__ == "__main__":
    main()
