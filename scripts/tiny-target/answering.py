"""Greedy answers of a saved model to conversations, through the library's processor."""

from dataclasses import dataclass

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from media import decode_clip, decode_picture
from positions import use_engine_positions
from scenes import FRAMES_PER_SECOND

LONGEST = 240  # tokens of an answer


@dataclass
class Asked:
    """A conversation with its media files, as (suffix, bytes)."""

    talk: object
    files: list


def load(folder, dtype):
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()
    use_engine_positions(model)
    return model, AutoProcessor.from_pretrained(folder)


def processor_inputs(processor, asked, answers):
    texts, images, videos, metadata = [], [], [], []
    for item, given in zip(asked, answers):
        clips = [decode_clip(data) for suffix, data in item.files if suffix == "mp4"]
        pictures = [decode_picture(data) for suffix, data in item.files if suffix != "mp4"]
        messages = item.talk.messages([{"type": "image"}] * len(pictures), [{"type": "video"}] * len(clips), given)
        texts.append(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        images += pictures
        videos += [frames for frames, _ in clips]
        metadata += [about for _, about in clips]
    media = {"images": images} if images else {}
    if videos:
        media |= {"videos": videos, "video_metadata": metadata, "do_sample_frames": True, "fps": FRAMES_PER_SECOND}
    return processor(text=texts, padding=True, padding_side="left", return_tensors="pt", **media)


@torch.no_grad()
def answer_all(model, processor, asked, batch=32, prepare=processor_inputs):
    """-> for each conversation its answers, turn by turn after the model's own earlier ones.

    An answer that reaches the limit ends the list with None.  `prepare` makes the model's inputs of a batch.
    """
    answers = [[] for _ in asked]
    end, pad = model.config.text_config.eos_token_id, processor.tokenizer.pad_token_id
    for turn in range(max(len(a.talk.turns) for a in asked)):
        due = [i for i, a in enumerate(asked) if len(a.talk.turns) > turn and None not in answers[i]]
        for at in range(0, len(due), batch):
            part = due[at : at + batch]
            inputs = prepare(processor, [asked[i] for i in part], [answers[i] for i in part])
            out = model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
            for i, row in zip(part, out[:, inputs["input_ids"].shape[1] :].tolist()):
                row = [token for token in row if token != pad]
                answers[i].append(processor.tokenizer.decode(row[:-1]) if row[-1:] == [end] else None)
    return answers
