"""Batches for training: conversations as token ids, labels, pixels, spectrograms and positions."""

import siblings  # noqa: F401
import torch
from batches import GRID, patchify, stack_pictures
from omni_conversations import conversation, render
from positions import MERGE, row_positions
from sounds import RATE
from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import _get_feat_extract_output_lengths

PICTURE_TOKENS = (GRID // MERGE) ** 2


def spectrograms(extractor, waves):
    """-> what the processor makes of recordings: (features [n, 128, frames], mask [n, frames])."""
    made = extractor(
        waves, sampling_rate=RATE, padding=True, truncation=False, return_attention_mask=True, return_tensors="pt"
    )
    return made["input_features"], made["attention_mask"]


class Row:
    """One conversation, laid out as the chat template does; audio takes positions like text."""

    def __init__(self, talk, rng, ids, hop):
        self.pictures, self.waves, self.tokens, self.labels, shown = [], [], [], [], ""
        for item in talk.media:
            made = render(item, rng)
            if made.ndim == 3:
                self.pictures.append(made)
                shown += f"<|vision_start|>{'<|image_pad|>' * PICTURE_TOKENS}<|vision_end|>"
            else:
                self.waves.append(made)
                tokens = _get_feat_extract_output_lengths(len(made) // hop)
                shown += f"<|audio_start|>{'<|audio_pad|>' * tokens}<|audio_end|>"
        if talk.system:
            self.add("system", talk.system, ids)
        for i, turn in enumerate(talk.turns):
            self.add("user", (shown if i == 0 else "") + turn.question, ids)
            self.add("assistant", turn.answer, ids)
        pads, grids = ids("<|image_pad|>"), [(1, GRID, GRID)] * len(self.pictures)
        self.positions = row_positions(self.tokens, pads, grids, [None] * len(grids))

    def add(self, role, text, ids):
        head, body = ids(f"<|im_start|>{role}\n"), ids(text + "<|im_end|>")
        self.tokens += [*head, *body, *ids("\n")]
        answer = body if role == "assistant" else [-100] * len(body)
        self.labels += [-100] * len(head) + answer + [-100]


class Batcher:
    """An endless stream of batches of conversations of similar length, `budget` tokens each."""

    def __init__(self, processor, rng, budget=2048, pool=192):
        self.tokenizer, self.extractor = processor.tokenizer, processor.feature_extractor
        self.rng, self.budget, self.pool, self.queue = rng, budget, pool, []

    def ids(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def fill(self, stage):
        rows = []
        for _ in range(self.pool):
            rows.append(Row(conversation(self.rng, stage), self.rng, self.ids, self.extractor.hop_length))
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
        pictures, waves = [p for r in rows for p in r.pictures], [w for r in rows for w in r.waves]
        if pictures:
            pixels, inputs["image_grid_thw"] = stack_pictures(pictures)
            inputs["pixel_values"] = patchify(pixels)
        if waves:
            inputs["input_features"], inputs["feature_attention_mask"] = spectrograms(self.extractor, waves)
        return inputs, labels
