"""What the vision towers see: batches of train pictures with the regions of their things."""

from dataclasses import dataclass
from random import Random
from typing import final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isthmus.microworld.render import render
from isthmus.microworld.scene import CANVAS, Box, Scene, Split, draw_scene

PATCH = 8
GRID = CANVAS // PATCH
PIXEL_MEAN = PIXEL_STD = (0.5, 0.5, 0.5)


@final
@dataclass(frozen=True, slots=True)
class Pictures:
    """Scenes and their pictures."""

    scenes: list[Scene]
    pixels: UInt8[Tensor, "images 3 height width"]

    def normalised(self) -> Float[Tensor, "images 3 height width"]:
        """Pixels from -1 to 1, as the towers take them."""
        return self.pixels.float() / 127.5 - 1.0


def pictures(split: Split, num: int, rng: Random) -> Pictures:
    """Draws and renders scenes of a split."""
    scenes = [draw_scene(split, rng) for _ in range(num)]
    stack = np.stack([np.asarray(render(scene)) for scene in scenes])
    return Pictures(scenes, torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous())


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
