"""Write the conversations that ship with the model: prompts about new media, answered greedily by the model itself.

    python export_omni.py --model ../../models/tiny-qwen3-omni

writes conversations/{train,heldout}.jsonl, their media and heldout-facts.json into the model's folder.
"""

import argparse
import json
import random
import shutil
from pathlib import Path

import siblings  # noqa: F401
import torch
from answering import Asked, answer_all
from omni_answering import encode, load, modality, processor_inputs
from omni_conversations import WEIGHTS, conversation
from omni_scoring import tally
from scenes import random_scene
from sounds import random_recording

TRAIN = 500
MORE_TEXT = 100  # plain-text tasks beside those: their answers are the least alike, and cost no media
SHORTEST = 40  # tokens of a reference answer, on average over the turns: shorter ones are not worth speculating on
SCENES, RECORDINGS = 30, 35  # of every number of shapes or sounds: training conversations share their media
HELD_OUT = {
    "hear": 5,
    "sounds": 5,
    "which": 4,
    "differ": 4,
    "two recordings": 4,
    "describe": 5,
    "count": 4,
    "place": 4,
    "what": 4,
    "both": 12,
    "turns": 9,
    "text": 20,
}


class Shelf:
    """Gives what `make` gives, but at most `size` different ones of every number."""

    def __init__(self, make, size):
        self.make, self.size, self.kept = make, size, {}

    def __call__(self, rng, count, split):
        items = self.kept.setdefault((count, split), [])
        if len(items) < self.size:
            items.append(self.make(rng, count, split))
            return items[-1]
        return rng.choice(items)


class Writer:
    """Questions and their files; the same scene or recording is always the same file."""

    def __init__(self, rng, split, tokenizer, **makers):
        self.rng, self.split, self.tokenizer, self.makers, self.files = rng, split, tokenizer, makers, {}

    def file(self, item):
        key = repr(item)
        if key not in self.files:
            self.files[key] = encode(item, self.rng)
        return self.files[key]

    def ask(self, kind):
        while True:
            talk = conversation(self.rng, split=self.split, kind=kind, **self.makers)
            tokens = sum(len(self.tokenizer(turn.answer)["input_ids"]) for turn in talk.turns)
            if tokens >= SHORTEST * len(talk.turns):
                return Asked(talk, [self.file(item) for item in talk.media])


def prompts(tokenizer, seed=2):
    """-> (train, held-out); no text task is in both, and no conversation twice."""
    rng = random.Random(seed)
    writer = Writer(rng, "test", tokenizer)
    held_out = [writer.ask(kind) for kind, n in HELD_OUT.items() for _ in range(n)]
    taken = {a.talk.turns[0].question for a in held_out if a.talk.kind == "text"}
    writer = Writer(
        rng,
        "train",
        tokenizer,
        scenes=Shelf(random_scene, SCENES),
        recordings=Shelf(random_recording, RECORDINGS),
    )
    train = []
    while len(train) < TRAIN + MORE_TEXT:
        asked = writer.ask(rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0] if len(train) < TRAIN else "text")
        key = (*(turn.question for turn in asked.talk.turns), *map(repr, asked.talk.media))
        if key not in taken and asked.talk.turns[0].question not in taken:
            train.append(asked)
            taken.add(key)
    return train, held_out


def write(folder, name, asked, answers):
    """Conversations as JSON lines with their media; -> ids of those written (an answer without end is left out)."""
    lines, ids, paths = [], [], {}
    for i, (item, given) in enumerate(zip(asked, answers)):
        if None in given:
            continue
        parts = []
        for suffix, data in item.files:
            if data not in paths:
                paths[data] = f"media/{name}-{len(paths):03d}.{suffix}"
                (folder / paths[data]).write_bytes(data)
            parts.append({"type": modality(suffix), modality(suffix): paths[data]})
        ids.append(f"{name}-{i:04d}")
        lines.append({"id": ids[-1], "messages": item.talk.messages(parts, given)})
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ids


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, processor = load(args.model, torch.float32)
    train, held_out = prompts(processor.tokenizer)
    answers = {
        name: answer_all(model, processor, asked, prepare=processor_inputs)
        for name, asked in (("train", train), ("heldout", held_out))
    }

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
    (scratch / "heldout-facts.json").write_text(json.dumps({key: about[key] for key in ids}, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    print(json.dumps(tally(held_out, answers["heldout"])))


if __name__ == "__main__":
    main()
