"""Check that a trained model looks and listens: greedy answers about held-out media, through real files.

    python evaluate_omni.py --model ../../models/tiny-qwen3-omni --seed 2026

The same questions are asked again with the files of another conversation of the same kind, which must ruin the score.
"""

import argparse
import json
import random
import statistics
from pathlib import Path

import siblings  # noqa: F401
import torch
from answering import Asked, answer_all
from evaluate import shuffled
from omni_answering import encode, load, processor_inputs
from omni_conversations import WEIGHTS, conversation
from omni_scoring import tally


def held_out(rng, kind):
    talk = conversation(rng, split="test", kind=kind)
    return Asked(talk, [encode(item, rng) for item in talk.media])


def table(right, wrong):
    lines = ["| kind | attributes right | whole answers right | media shuffled |", "| --- | --- | --- | --- |"]
    for kind, part in right["by_kind"].items():
        control = f"{wrong['by_kind'][kind]:.1%}" if kind in wrong["by_kind"] else "–"
        lines.append(f"| {kind} | {part:.1%} | {right['whole_answers'][kind]:.1%} | {control} |")
    total = f"**{right['attributes']:.1%}**"
    lines.append(f"| **all attributes of media** ({right['facts']}) | {total} | | {wrong['attributes']:.1%} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--per-kind", type=int, default=25)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--record", type=Path, help="where to write scores and answers, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, processor = load(args.model, getattr(torch, args.dtype))
    rng = random.Random(args.seed)
    asked = [held_out(rng, kind) for kind in WEIGHTS for _ in range(args.per_kind)]
    answers = answer_all(model, processor, asked, prepare=processor_inputs)
    right = tally(asked, answers)
    swapped = shuffled(asked)
    wrong = tally(swapped, answer_all(model, processor, swapped, prepare=processor_inputs))
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
