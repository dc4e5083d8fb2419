"""Write the conversations that ship with the model: prompts about new scenes, answered greedily by the model itself.

    python export_conversations.py --model ../../models/tiny-qwen2.5-vl

writes conversations/{train,heldout}.jsonl, their media and heldout-facts.json into the model's folder.
"""

import argparse
import json
import random
import shutil
from pathlib import Path

import torch

from answering import Asked, answer_all, load
from conversations import WEIGHTS, conversation, render
from media import encode_media
from scoring import tally

TRAIN = 500
MORE_TEXT = 200  # plain-text tasks beside those: their answers are the least alike, and cost no media
SHORTEST = 60  # tokens of a reference answer, on average over the turns: shorter ones are not worth speculating on
HELD_OUT = {
    "describe": 4,
    "count": 2,
    "place": 3,
    "what": 2,
    "colour": 3,
    "compare": 3,
    "turns": 3,
    "two": 20,
    "clip": 20,
    "text": 20,
}


def ask(rng, split, kind, tokenizer):
    while True:
        talk = conversation(rng, split=split, kind=kind)
        tokens = sum(len(tokenizer(turn.answer)["input_ids"]) for turn in talk.turns)
        if tokens >= SHORTEST * len(talk.turns):
            return Asked(talk, encode_media(*render(talk, rng, lossy=0), rng))


def prompts(tokenizer, seed=2):
    """-> (train, held-out); no text task is in both."""
    rng = random.Random(seed)
    held_out = [ask(rng, "test", kind, tokenizer) for kind, n in HELD_OUT.items() for _ in range(n)]
    taken = {a.talk.turns[0].question for a in held_out if a.talk.kind == "text"}
    train = []
    while len(train) < TRAIN + MORE_TEXT:
        kind = rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0] if len(train) < TRAIN else "text"
        asked = ask(rng, "train", kind, tokenizer)
        if asked.talk.turns[0].question not in taken:
            train.append(asked)
    return train, held_out


def write(folder, name, asked, answers):
    """Conversations as JSON lines with their media; -> ids of those written (an answer without end is left out)."""
    lines, ids = [], []
    for i, (item, given) in enumerate(zip(asked, answers)):
        if None in given:
            continue
        parts = {"image": [], "video": []}
        for j, (suffix, data) in enumerate(item.files):
            path = f"media/{name}-{i:04d}-{j}.{suffix}"
            (folder / path).write_bytes(data)
            kind = "video" if suffix == "mp4" else "image"
            parts[kind].append({"type": kind, kind: path})
        ids.append(f"{name}-{i:04d}")
        lines.append({"id": ids[-1], "messages": item.talk.messages(parts["image"], parts["video"], given)})
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ids


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, processor = load(args.model, torch.float32)
    train, held_out = prompts(processor.tokenizer)
    answers = {"train": answer_all(model, processor, train), "heldout": answer_all(model, processor, held_out)}

    folder = args.model / "conversations"
    scratch = args.model / "conversations.new"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "media").mkdir(parents=True)
    for name, asked in (("train", train), ("heldout", held_out)):
        ids = write(scratch, name, asked, answers[name])
        print(f"{name}: {len(ids)} of {len(asked)} conversations")
    about = {
        f"heldout-{i:04d}": {"kind": a.talk.kind, "facts": [t.facts for t in a.talk.turns]}
        for i, a in enumerate(held_out)
    }
    facts = {key: about[key] for key in ids}
    (scratch / "heldout-facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    print(
        json.dumps(
            tally(
                [a.talk.kind for a in held_out], [[t.facts for t in a.talk.turns] for a in held_out], answers["heldout"]
            )
        )
    )


if __name__ == "__main__":
    main()
