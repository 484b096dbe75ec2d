"""Scenes: what is in a picture of the microworld, before it is drawn or told in words.

A scene's split is a function of its content, so no two splits can share one: a scene that holds a
held-out (shape, colour) pair is `compositional`; the others fall to train, val or test by hash.
"""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, final, get_args

Split = Literal["train", "val", "test", "compositional"]
SPLITS: tuple[Split, ...] = get_args(Split)

CANVAS = 64
"""Width and height of a picture, in pixels."""
MAX_THINGS = 5
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "heart", "moon", "ring")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
FILLS = ("solid", "striped", "dotted")
SIZES = ("small", "large")
SIZE_PIXELS = {"small": (11, 13), "large": (19, 22)}
SIGN_WORDS = (
    "cat",
    "dog",
    "sun",
    "car",
    "bus",
    "tea",
    "map",
    "key",
    "box",
    "fox",
    "owl",
    "bee",
    "ant",
    "cow",
    "pig",
    "hat",
    "cup",
    "jam",
    "ice",
    "oak",
    "sea",
    "sky",
    "zoo",
    "gym",
)
ATTRIBUTES = ("size", "colour", "fill", "shape")

HELD_OUT = frozenset(
    (shape, colour)
    for i, shape in enumerate(SHAPES)
    for j, colour in enumerate(COLOURS)
    if (i + 3 * j) % 4 == 0
)
"""Two colours of each shape that no tower and no connector ever sees together in training."""
SEEN = tuple((s, c) for s in SHAPES for c in COLOURS if (s, c) not in HELD_OUT)

_MAX_OVERLAP = 0.15
_SIGN_SHARE = 0.35
_GLYPH_WIDTH, _SIGN_HEIGHT, _SIGN_MARGIN = 6, 13, 3

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; the right and lower edges are outside the box."""


@final
@dataclass(frozen=True, slots=True)
class Thing:
    """One coloured shape."""

    size: str
    colour: str
    fill: str
    shape: str
    box: Box

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box, in pixels."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@final
@dataclass(frozen=True, slots=True)
class Sign:
    """A white plate with a word or a number on it."""

    text: str
    box: Box


@final
@dataclass(frozen=True, slots=True)
class Scene:
    """Things, perhaps a sign, and a background grey level with a noise strength (0 is plain)."""

    things: tuple[Thing, ...]
    sign: Sign | None
    tone: int
    noise: int

    @property
    def split(self) -> Split:
        """The split this scene belongs to."""
        if any((thing.shape, thing.colour) in HELD_OUT for thing in self.things):
            return "compositional"
        content = [(t.size, t.colour, t.fill, t.shape, t.box) for t in self.things]
        bucket = zlib.crc32(repr((content, self.sign and self.sign.text)).encode()) % 10
        return "val" if bucket == 0 else "test" if bucket == 1 else "train"


def _overlap(a: Box, b: Box) -> float:
    """Shared area as a share of the smaller box."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / area


def _place(width: int, height: int, taken: list[Box], rng: Random) -> Box | None:
    """A free place anywhere on the canvas, or None when none was found."""
    for _ in range(12):
        x, y = int(rng.random() * (CANVAS - width)), int(rng.random() * (CANVAS - height))
        box = (x, y, x + width, y + height)
        if all(_overlap(box, other) <= _MAX_OVERLAP for other in taken):
            return box
    return None


def _draw_scene(split: Split, num_things: int, rng: Random) -> Scene | None:
    """A scene with that many things, or None when they did not fit."""
    taken: list[Box] = []
    sign = None
    if rng.random() < _SIGN_SHARE:
        text = rng.choice(SIGN_WORDS) if rng.random() < 0.5 else str(10 + int(rng.random() * 90))
        box = _place(_GLYPH_WIDTH * len(text) + 2 * _SIGN_MARGIN, _SIGN_HEIGHT, taken, rng)
        if box is not None:
            sign = Sign(text, box)
            taken.append(box)
    pairs = tuple(sorted(HELD_OUT)) if split == "compositional" else SEEN
    things = []
    for _ in range(num_things):
        size = rng.choice(SIZES)
        low, high = SIZE_PIXELS[size]
        pixels = low + int(rng.random() * (high - low + 1))
        box = _place(pixels, pixels, taken, rng)
        if box is None:
            return None
        shape, colour = rng.choice(pairs)
        things.append(Thing(size, colour, rng.choice(FILLS), shape, box))
        taken.append(box)
    tone = rng.choice((25, 60, 200, 235))
    noise = rng.choice((0, 0, 12, 24))
    return Scene(tuple(things), sign, tone, noise)


def draw_scene(split: Split, rng: Random, num_things: int | None = None) -> Scene:
    """Draws a scene of a split.

    Args:
        split: Which split it shall belong to; in `compositional` every thing is a held-out pair.
        rng: The source of chance; the same state gives the same scene.
        num_things: How many things, 1 to 5; drawn evenly when None.
    """
    count = num_things or 1 + int(rng.random() * MAX_THINGS)
    while True:
        scene = _draw_scene(split, count, rng)
        if scene is not None and scene.split == split:
            return scene


def scenes(split: Split, num: int | None, seed: int = 0) -> Iterator[tuple[Scene, Random]]:
    """Yields `num` scenes of a split, each with the random source its questions are drawn from.

    Scene i depends only on (split, seed, i): a longer list begins with the shorter one, and None
    goes on for ever.
    """
    for index in itertools.count() if num is None else range(num):
        rng = Random(f"{split}/{seed}/{index}")
        yield draw_scene(split, rng), rng
