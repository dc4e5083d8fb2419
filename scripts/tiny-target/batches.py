"""Batches for training: conversations as token ids, labels, pixels and positions."""

import numpy as np
import torch

from blueprint import PATCH
from conversations import conversation, render
from positions import MERGE, row_positions
from scenes import FRAMES_PER_SECOND, PIXELS, SIDE

GRID = PIXELS // PATCH
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
TEMPORAL_PATCH = 2
DEFAULT_SYSTEM = "You are a helpful assistant."


def patchify(frames):
    """uint8 [n, 2, 84, 84, 3] -> float32 [n * 36, 3 * 2 * 14 * 14], in the order of the Qwen image processor."""
    side = GRID // MERGE
    x = (frames.astype(np.float32) / 255.0 - MEAN) / STD
    x = x.reshape(-1, TEMPORAL_PATCH, side, MERGE, PATCH, side, MERGE, PATCH, 3).transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return torch.from_numpy(np.ascontiguousarray(x.reshape(-1, 3 * TEMPORAL_PATCH * PATCH * PATCH)))


def stack_pictures(pictures):
    """Pictures as the frame pairs and grids that the vision tower takes."""
    return np.stack([np.stack([p, p]) for p in pictures]), torch.tensor([[1, GRID, GRID]] * len(pictures))


class Row:
    """One conversation, laid out as the chat template does."""

    def __init__(self, talk, pictures, video, ids):
        self.pictures, self.video, self.tokens, self.labels = pictures, video, [], []
        media = ["<|image_pad|>"] * len(pictures)
        media += [] if video is None else ["<|video_pad|>"] * (len(video) // TEMPORAL_PATCH)
        grids = [(1, GRID, GRID)] * len(pictures)
        grids += [] if video is None else [(len(video) // TEMPORAL_PATCH, GRID, GRID)]
        blocks = [pad * SIDE**2 for pad in media]
        if video is not None:
            blocks = ["".join(blocks)]
        shown = "".join(f"<|vision_start|>{block}<|vision_end|>" for block in blocks)
        self.add("system", talk.system or DEFAULT_SYSTEM, ids)
        for i, turn in enumerate(talk.turns):
            self.add("user", (shown if i == 0 else "") + turn.question, ids)
            self.add("assistant", turn.answer, ids)
        pads = (*ids("<|image_pad|>"), *ids("<|video_pad|>"))
        seconds = [None if video is None else TEMPORAL_PATCH / FRAMES_PER_SECOND] * len(grids)
        self.positions = row_positions(self.tokens, pads, grids, seconds)

    def add(self, role, text, ids):
        head, body = ids(f"<|im_start|>{role}\n"), ids(text + "<|im_end|>")
        self.tokens += [*head, *body, *ids("\n")]
        answer = body if role == "assistant" else [-100] * len(body)
        self.labels += [-100] * len(head) + answer + [-100]


class Batcher:
    """An endless stream of batches of conversations of similar length, `budget` tokens each."""

    def __init__(self, tokenizer, rng, budget=2048, pool=192):
        self.tokenizer, self.rng, self.budget, self.pool, self.queue = tokenizer, rng, budget, pool, []

    def ids(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def fill(self, stage):
        rows = []
        for _ in range(self.pool):
            talk = conversation(self.rng, stage)
            rows.append(Row(talk, *render(talk, self.rng), self.ids))
        rows.sort(key=lambda row: len(row.tokens) + self.rng.random() * 8)
        group = []
        for row in rows:
            if group and (len(group) + 1) * max(len(r.tokens) for r in [*group, row]) > self.budget:
                self.queue.append(group)
                group = []
            group.append(row)
        self.queue.append(group)
        self.rng.shuffle(self.queue)

    def next(self, stage):
        """-> (model inputs, labels); rows are padded on the right, which causal attention never sees."""
        if not self.queue:
            self.fill(stage)
        rows = self.queue.pop()
        width, pad = max(len(r.tokens) for r in rows), self.tokenizer.pad_token_id
        inputs = {"input_ids": torch.tensor([r.tokens + [pad] * (width - len(r.tokens)) for r in rows])}
        inputs["position_ids"] = torch.stack(
            [torch.nn.functional.pad(r.positions, (0, width - len(r.tokens))) for r in rows], 1
        )
        labels = torch.tensor([r.labels + [-100] * (width - len(r.labels)) for r in rows])
        pictures = [p for r in rows for p in r.pictures]
        videos = [r.video for r in rows if r.video is not None]
        if pictures:
            pixels, inputs["image_grid_thw"] = stack_pictures(pictures)
            inputs["pixel_values"] = patchify(pixels)
        if videos:
            pairs = np.concatenate([v.reshape(-1, TEMPORAL_PATCH, *v.shape[1:]) for v in videos])
            inputs["pixel_values_videos"] = patchify(pairs)
            inputs["video_grid_thw"] = torch.tensor([[len(v) // TEMPORAL_PATCH, GRID, GRID] for v in videos])
        return inputs, labels
