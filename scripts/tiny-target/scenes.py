"""Drawn scenes: what the tiny target looks at.

A scene is a 3x3 board of 28-pixel cells (84x84 pixels) with at most one shape in a cell, so that one cell is
exactly one merged vision token (2x2 patches of 14 pixels).  A clip is a list of scenes shown for a second each.
"""

import io
import math
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

CELL, SIDE = 28, 3
PIXELS = CELL * SIDE
COLOURS = {
    "red": (225, 30, 30),
    "orange": (255, 145, 0),
    "yellow": (250, 225, 20),
    "green": (30, 165, 50),
    "blue": (30, 70, 225),
    "purple": (130, 30, 165),
    "pink": (255, 140, 190),
    "brown": (125, 75, 30),
}
SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond"]
SIZES = {"small": 6.5, "large": 12.0}
BACKGROUNDS = {"white": (255, 255, 255), "grey": (170, 170, 170), "black": (0, 0, 0)}
ROWS = ["top", "middle", "bottom"]
COLUMNS = ["left", "middle", "right"]
PLACES = [
    "top left",
    "top middle",
    "top right",
    "middle left",
    "centre",
    "middle right",
    "bottom left",
    "bottom middle",
    "bottom right",
]
PATHS = {
    "from left to right": [(r * 3, r * 3 + 1, r * 3 + 2) for r in range(3)],
    "from right to left": [(r * 3 + 2, r * 3 + 1, r * 3) for r in range(3)],
    "from top to bottom": [(c, c + 3, c + 6) for c in range(3)],
    "from bottom to top": [(c + 6, c + 3, c) for c in range(3)],
}
FRAMES_PER_SECOND = 2  # as the processor samples clips: two frames, one second, one temporal patch


@dataclass
class Scene:
    """`objects` maps a cell (0 to 8, in reading order) to (size, colour, shape)."""

    background: str
    objects: dict

    def held_out(self):
        """A tenth of all scenes, chosen by their content, is never trained on."""
        return zlib.crc32(repr((self.background, sorted(self.objects.items()))).encode()) % 10 == 0


@dataclass
class Clip:
    """One shape follows `path` (three cells, one a second); another, if any, rests at `still`."""

    background: str
    shape: tuple
    motion: str
    path: tuple
    still: tuple | None  # (cell, (size, colour, shape))

    def scenes(self):
        rest = [self.still] if self.still else []
        return [Scene(self.background, dict(sorted([(cell, self.shape), *rest]))) for cell in self.path]


def random_shape(rng):
    return rng.choice(list(SIZES)), rng.choice(list(COLOURS)), rng.choice(SHAPES)


def random_scene(rng, count, split):
    """`count` shapes, no two of the same colour and kind, from the "train" or the "test" part of all scenes."""
    while True:
        objects = {cell: random_shape(rng) for cell in sorted(rng.sample(range(SIDE * SIDE), count))}
        scene = Scene(rng.choice(list(BACKGROUNDS)), objects)
        if len({o[1:] for o in objects.values()}) == count and scene.held_out() == (split == "test"):
            return scene


def random_clip(rng, split, crowded):
    while True:
        motion = rng.choice([*PATHS, "stays"])
        path = (rng.randrange(9),) * 3 if motion == "stays" else rng.choice(PATHS[motion])
        shape, other = random_shape(rng), random_shape(rng)
        free = [cell for cell in range(9) if cell not in path]
        still = (rng.choice(free), other) if crowded else None
        clip = Clip(rng.choice(list(BACKGROUNDS)), shape, motion, path, still)
        first, last = clip.scenes()[0], clip.scenes()[-1]
        seen = Scene(clip.background, {**first.objects, **{c + 9: o for c, o in last.objects.items()}})
        if shape[1:] != other[1:] and seen.held_out() == (split == "test"):
            return clip


# ---------------------------------------------------------------- drawing
def outline(shape, r):
    """Corners of a shape of radius r about the middle of a cell."""
    c = CELL / 2
    if shape == "square":
        r *= 0.88
        return [(c - r, c - r), (c + r, c - r), (c + r, c + r), (c - r, c + r)]
    if shape == "triangle":
        return [(c, c - r), (c + r, c + r * 0.85), (c - r, c + r * 0.85)]
    if shape == "diamond":
        return [(c, c - r), (c + r * 0.75, c), (c, c + r), (c - r * 0.75, c)]
    if shape == "cross":
        t = r * 0.34
        arm = [
            (-t, -r),
            (t, -r),
            (t, -t),
            (r, -t),
            (r, t),
            (t, t),
            (t, r),
            (-t, r),
            (-t, t),
            (-r, t),
            (-r, -t),
            (-t, -t),
        ]
        return [(c + x, c + y) for x, y in arm]
    turns = [(math.pi * (i / 5 - 0.5), r if i % 2 == 0 else r * 0.42) for i in range(10)]
    return [(c + q * math.cos(a), c + q * math.sin(a)) for a, q in turns]


TILES = {}  # every variant of a cell is drawn once


def tile(kind, background, dx, dy):
    """One cell, drawn at four times its size and scaled down."""
    key = (kind, background, dx, dy)
    if key not in TILES:
        size, colour, shape = kind
        k, r = 4, SIZES[size]
        image = Image.new("RGB", (CELL * k, CELL * k), BACKGROUNDS[background])
        draw = ImageDraw.Draw(image)
        if shape == "circle":
            x, y = CELL / 2 + dx, CELL / 2 + dy
            draw.ellipse([((x - r) * k, (y - r) * k), ((x + r) * k, (y + r) * k)], COLOURS[colour])
        else:
            draw.polygon([((x + dx) * k, (y + dy) * k) for x, y in outline(shape, r)], COLOURS[colour])
        TILES[key] = np.asarray(image.resize((CELL, CELL), Image.LANCZOS))
    return TILES[key]


def jitter(kind, rng):
    return (rng.choice((-2, 0, 2)), rng.choice((-2, 0, 2))) if kind[0] == "small" else (rng.choice((-1, 1)), 0)


def draw(scene, rng):
    """-> uint8 [84, 84, 3]; each shape sits a little off the middle of its cell."""
    board = np.empty((PIXELS, PIXELS, 3), np.uint8)
    board[:] = BACKGROUNDS[scene.background]
    for cell, kind in scene.objects.items():
        y, x = divmod(cell, SIDE)
        drawn = tile(kind, scene.background, *jitter(kind, rng))
        board[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = drawn
    return board


def draw_clip(clip, rng):
    """-> uint8 [6, 84, 84, 3]: every scene for two frames; what rests does not tremble."""
    scenes = clip.scenes()
    pictures = [draw(scenes[0], rng)]
    for before, scene in zip(scenes, scenes[1:]):
        picture = pictures[-1].copy()
        for cell in before.objects.keys() ^ scene.objects.keys():
            y, x = divmod(cell, SIDE)
            part = draw(Scene(scene.background, {c: o for c, o in scene.objects.items() if c == cell}), rng)
            window = np.s_[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL]
            picture[window] = part[window]
        pictures.append(picture)
    return np.repeat(np.stack(pictures), FRAMES_PER_SECOND, axis=0)


def degrade(picture, rng):
    """What a lossy file does to a picture: JPEG with halved colour resolution, as in JPEG files and H.264 clips."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=rng.randrange(80, 97), subsampling="4:2:0")
    return np.asarray(Image.open(file))
