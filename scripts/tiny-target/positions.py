"""Rotary positions by the serving engines' rule (transformers 4, SGLang, vLLM).

After a picture or a clip, text goes on at the largest position used so far on any axis, time included, plus one.
transformers 5.18 goes on at the block's start plus max(height, width) instead, which differs for clips.
"""

import torch

TOKENS_PER_SECOND, MERGE = 2, 2


def row_positions(tokens, pads, grids, seconds_per_grid):
    """-> int64 [3, len(tokens)]: time, height, width.

    `grids` holds (time, height, width) in patches for every run of a token in `pads`, in order of appearance;
    `seconds_per_grid` holds the seconds between temporal patches, None for a picture.
    """
    parts, at, block, here = [], 0, 0, 0
    while at < len(tokens):
        if tokens[at] in pads:
            t, h, w = grids[block][0], grids[block][1] // MERGE, grids[block][2] // MERGE
            seconds = seconds_per_grid[block]
            step = 1 if seconds is None else seconds * TOKENS_PER_SECOND
            time = (torch.arange(t) * step).long()
            axes = torch.meshgrid(time, torch.arange(h), torch.arange(w), indexing="ij")
            part = torch.stack([a.reshape(-1) for a in axes])
            block += 1
        else:
            end = at
            while end < len(tokens) and tokens[end] not in pads:
                end += 1
            part = torch.arange(end - at).expand(3, -1)
        parts.append(part + here)
        at += part.shape[1]
        here = int(parts[-1].max()) + 1
    return torch.cat(parts, dim=1)


def use_engine_positions(model):
    """Make a loaded model's own `get_rope_index` follow the engines' rule."""

    def get_rope_index(
        input_ids, image_grid_thw=None, video_grid_thw=None, second_per_grid_ts=None, attention_mask=None, **_
    ):
        image, video = model.config.image_token_id, model.config.video_token_id
        images = iter(() if image_grid_thw is None else image_grid_thw.tolist())
        videos = iter(() if video_grid_thw is None else video_grid_thw.tolist())
        seconds = iter(() if second_per_grid_ts is None else torch.as_tensor(second_per_grid_ts).tolist())
        position_ids = torch.zeros(3, *input_ids.shape, dtype=torch.long)
        deltas = []
        for i, row in enumerate(input_ids):
            keep = torch.ones_like(row).bool() if attention_mask is None else attention_mask[i].bool()
            tokens = row[keep].tolist()
            starts = [t for t, before in zip(tokens, [None, *tokens]) if t in (image, video) and t != before]
            grids = [next(images) if t == image else next(videos) for t in starts]
            times = [None if t == image else next(seconds) for t in starts]
            positions = row_positions(tokens, (image, video), grids, times)
            position_ids[:, i, keep] = positions
            deltas.append([int(positions.max()) + 1 - len(tokens)])
        return position_ids, torch.tensor(deltas)

    model.model.get_rope_index = get_rope_index
