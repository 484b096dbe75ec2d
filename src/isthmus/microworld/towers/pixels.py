"""What the vision towers see: batches of train pictures with the regions of their things."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isthmus.microworld.render import RGB, Rgb, render
from isthmus.microworld.scene import CANVAS, Box, Scene, Split, draw_scene

PATCH = 8
GRID = CANVAS // PATCH
PIXEL_MEAN = PIXEL_STD = (0.5, 0.5, 0.5)
_NAMELESS_DISTANCE = 70.0


@final
@dataclass(frozen=True, slots=True)
class Pictures:
    """Scenes and their pictures."""

    scenes: list[Scene]
    pixels: UInt8[Tensor, "images 3 height width"]
    nameless: list[bool]
    """Which pictures are drawn in colours that have no name: their words must tell no colour."""

    def normalised(self) -> Float[Tensor, "images 3 height width"]:
        """Pixels from -1 to 1, as the towers take them."""
        return normalised(self.pixels)


def normalised(
    pixels: UInt8[Tensor, "images 3 height width"],
) -> Float[Tensor, "images 3 height width"]:
    """Pixels from -1 to 1."""
    return pixels.float() / 127.5 - 1.0


def nameless_palette(rng: Random) -> dict[str, Rgb]:
    """Colours that are none of the named ones: each at least 70 levels away from all of these.

    A shape drawn in them is learnt apart from its colour, and still no held-out pair is shown.
    """

    def draw() -> Rgb:
        while True:
            rgb = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
            if all(math.dist(rgb, named) >= _NAMELESS_DISTANCE for named in RGB.values()):
                return rgb

    return {colour: draw() for colour in RGB}


def pictures(split: Split, num: int, rng: Random, *, nameless_share: float = 0.0) -> Pictures:
    """Draws and renders scenes of a split, a share of them in colours that have no name."""
    scenes = [draw_scene(split, rng) for _ in range(num)]
    nameless = [rng.random() < nameless_share for _ in scenes]
    palettes = [nameless_palette(rng) if odd else RGB for odd in nameless]
    return Pictures(scenes, rendered(scenes, palettes), nameless)


def rendered(
    scenes: list[Scene], palettes: Iterable[Mapping[str, Rgb]]
) -> UInt8[Tensor, "images 3 height width"]:
    """Draws scenes, each in its palette."""
    stack = np.stack([np.asarray(render(*pair)) for pair in zip(scenes, palettes, strict=False)])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous()


def coverage(boxes: list[Box]) -> Float[Tensor, "regions patches"]:
    """Which share of each region lies in each patch; rows sum to one.

    Shape: patches are the grid's rows, one after the other.
    """
    edges = torch.arange(GRID) * PATCH
    box = torch.tensor(boxes)

    def shared(low: Tensor, high: Tensor) -> Tensor:
        inside = torch.minimum(high[:, None], edges + PATCH) - torch.maximum(low[:, None], edges)
        return inside.clamp(min=0).float()

    area = shared(box[:, 1], box[:, 3])[:, :, None] * shared(box[:, 0], box[:, 2])[:, None, :]
    return area.flatten(1) / area.sum((1, 2))[:, None]
