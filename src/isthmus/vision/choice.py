"""A pretrained vision tower as a user chooses it, and what it comes to."""

from dataclasses import dataclass
from typing import final

from isthmus.pretrained import read_config
from isthmus.vision.fused import TowerConfig
from isthmus.vision.preprocessing import Preprocessing, read_preprocessing
from isthmus.vision.tower import vision_part

PENULTIMATE = -2
"""Layer that most published systems take their patches from."""

Layers = int | tuple[int, ...]
"""One layer of a tower, or several whose outputs stand side by side."""


@final
@dataclass(frozen=True, kw_only=True)
class TowerChoice:
    """A pretrained vision tower, and what is taken from it."""

    name: str
    """Local folder or hub id of the tower, or of a model that holds one."""
    layer: Layers = PENULTIMATE
    """Which layers' outputs are used, see `VisionTower`."""
    image_size: int | None = None
    """Height and width of what the tower is shown, pixels; its own when None. Its learned
    positions are interpolated."""

    def read(self) -> tuple[TowerConfig, Preprocessing]:
        """Returns the tower's configuration, and how images are made ready for it.

        Raises:
            ValueError: there is no such tower, or it cannot be used.
        """
        config = vision_part(read_config(self.name))
        wanted = read_preprocessing(self.name, config)
        tower = TowerConfig(
            encoder=config,
            layers=(self.layer,) if isinstance(self.layer, int) else self.layer,
            image_size=self.image_size or wanted.image_size,
            mean=wanted.mean,
            std=wanted.std,
        )
        return tower, wanted
