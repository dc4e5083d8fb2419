"""Check that a trained model reads its pictures: greedy answers about held-out scenes, through real media files.

    python evaluate.py --model ../../models/tiny-qwen2.5-vl --seed 2026

The same questions are asked again with the files of another conversation of the same kind, which must ruin the score.
"""

import argparse
import json
import random
import statistics
from pathlib import Path

import torch

from answering import Asked, answer_all, load
from conversations import KINDS, conversation, render
from media import encode_media
from scoring import tally


def held_out(rng, kind):
    talk = conversation(rng, split="test", kind=kind)
    return Asked(talk, encode_media(*render(talk, rng, lossy=0), rng))


def shuffled(asked):
    """Every conversation about pictures with the files of the next one of its kind."""
    seen = [a for a in asked if a.files]
    swapped = []
    for kind in dict.fromkeys(a.talk.kind for a in seen):
        group = [a for a in seen if a.talk.kind == kind]
        swapped += [Asked(a.talk, other.files) for a, other in zip(group, group[1:] + group[:1])]
    return swapped


def judge(asked, answers):
    facts = [[turn.facts for turn in a.talk.turns] for a in asked]
    return tally([a.talk.kind for a in asked], facts, answers)


def table(right, wrong):
    total = f"**{right['attributes']:.1%}**"
    lines = ["| kind | attributes right | whole answers right | pictures shuffled |", "| --- | --- | --- | --- |"]
    for kind, part in right["by_kind"].items():
        control = f"{wrong['by_kind'][kind]:.1%}" if kind in wrong["by_kind"] else "–"
        lines.append(f"| {kind} | {part:.1%} | {right['whole_answers'][kind]:.1%} | {control} |")
    lines.append(f"| **all visual attributes** ({right['facts']}) | {total} | | {wrong['attributes']:.1%} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--per-kind", type=int, default=30)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--record", type=Path, help="where to write scores and answers, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, processor = load(args.model, getattr(torch, args.dtype))
    rng = random.Random(args.seed)
    asked = [held_out(rng, kind) for kind in KINDS for _ in range(args.per_kind)]
    answers = answer_all(model, processor, asked)
    right = judge(asked, answers)
    swapped = shuffled(asked)
    wrong = judge(swapped, answer_all(model, processor, swapped))
    print(table(right, wrong))
    print(right["by_attribute"])
    lengths = [len(processor.tokenizer(text)["input_ids"]) for given in answers for text in given if text]
    print(f"answer tokens: median {statistics.median(lengths)}, {min(lengths)} to {max(lengths)}")
    if args.record:
        said = [
            {"kind": a.talk.kind, "question": t.question, "answer": text, "reference": t.answer}
            for a, given in zip(asked, answers)
            for t, text in zip(a.talk.turns, given)
        ]
        args.record.write_text(json.dumps({"right": right, "shuffled": wrong, "answers": said}, indent=1) + "\n")


if __name__ == "__main__":
    main()
