"""One to n vision towers that look at the same pixels, their patches side by side.

The first tower decides the grid. What another one sees is resampled to it and put beside it on the
last axis, so that a connector meets one vector per place, however many eyes there were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from isthmus.axes import Patches
from isthmus.vision.tower import VisionTower, grid_of, load_encoder, num_blocks_kept


@final
@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """One tower of a model: the encoder, what is taken from it, and what it is shown."""

    encoder: PreTrainedConfig
    """The encoder's own configuration, of all its layers."""
    layers: tuple[int, ...]
    """Layers whose outputs stand side by side, see `VisionTower`."""
    image_size: int
    """Height and width of what the tower is shown, pixels."""
    mean: tuple[float, ...]
    """Mean of each channel, on the scale of 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each channel, on the scale of 0 to 1."""

    def __post_init__(self) -> None:
        """Checks that the tower has the layers.

        Raises:
            ValueError: it lacks one, or one is named twice, or none is named.
        """
        for layer in self.layers:
            num_blocks_kept(self.encoder, layer)
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ValueError(f"vision layers are {self.layers}; expected one or more, each once")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches of an image."""
        return grid_of(self.encoder, self.image_size, self.image_size)

    @property
    def d_vision(self) -> int:
        """Width of a patch."""
        return self.encoder.hidden_size * len(self.layers)

    def build(self, *, keeps_prefix: bool = False) -> VisionTower:
        """Returns the tower with fresh weights."""
        return self._around(AutoModel.from_config(self.encoder), keeps_prefix)

    def load(self, vision: str, *, dtype: torch.dtype, keeps_prefix: bool = False) -> VisionTower:
        """Returns the tower with pretrained weights.

        Args:
            vision: local folder or hub id of the tower, or of a model that holds it.
            dtype: of the weights.
            keeps_prefix: see `VisionTower`.

        Raises:
            ValueError: weights are missing, or the tower cannot be used.
        """
        encoder, fresh = load_encoder(vision, dtype=dtype)
        tower = self._around(encoder, keeps_prefix)  # some of those weights may be cut off
        if absent := sorted(fresh & {name for name, _ in encoder.named_parameters()}):
            raise ValueError(
                f"{vision!r} lacks weights of its {self.encoder.model_type} tower, such as "
                f"{absent[0]!r}; save the vision model on its own and give that folder"
            )
        return tower

    def _around(self, encoder: PreTrainedModel, keeps_prefix: bool) -> VisionTower:
        return VisionTower(
            encoder,
            layers=self.layers,
            mean=self.mean,
            std=self.std,
            keeps_prefix=keeps_prefix,
        )


@final
class FusedTowers(nn.Module):
    """Several towers as one, their patches side by side.

    Paper: Prismatic VLMs, arXiv 2402.07865, section 3.2 (DINOv2 beside SigLIP): concatenated
        channelwise.
    Differs: towers may have grids of their own; those of the others are resampled to that of the
        first. Where towers take images of several sizes, the picture is resized once, to the
        largest, and shrunk from there on the device.
    """

    def __init__(self, towers: Sequence[VisionTower], sizes: Sequence[int]) -> None:
        """Takes the towers, the one that decides the grid first.

        Args:
            towers: which look at every image.
            sizes: height and width of what each is shown, pixels.
        """
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.sizes = tuple(sizes)

    def forward(
        self,
        pixel_values: UInt8[Tensor, "images 3 height width"]
        | Float[Tensor, "images 3 height width"],
    ) -> Patches:
        """Returns the patches of images whose values run from 0 to 255."""
        seen = [
            tower(shrunk(pixel_values, size))
            for tower, size in zip(self.towers, self.sizes, strict=True)
        ]
        grid = seen[0].grid
        return Patches(
            features=torch.cat([resampled(patches, grid) for patches in seen], dim=-1), grid=grid
        )


VisionTowers = VisionTower | FusedTowers
"""What looks at the images of a model."""


def build_towers(configs: Sequence[TowerConfig], *, keeps_prefix: bool) -> VisionTowers:
    """Returns the towers of a model with fresh weights."""
    return joined([config.build(keeps_prefix=keeps_prefix) for config in configs], configs)


def joined(towers: Sequence[VisionTower], configs: Sequence[TowerConfig]) -> VisionTowers:
    """Returns several towers as one; a single one stays as it is."""
    if len(towers) == 1:
        return towers[0]
    return FusedTowers(towers, [config.image_size for config in configs])


def shrunk(pixels: Tensor, size: int) -> Tensor:
    """Returns square images at a size, as Pillow's bicubic would resize them, but for rounding."""
    if pixels.shape[-1] == size:
        return pixels
    smooth = interpolate(
        pixels.to(torch.float32), size=(size, size), mode="bicubic", antialias=True
    )
    return smooth.clamp(0, 255)


def resampled(patches: Patches, grid: tuple[int, int]) -> Float[Tensor, "images patches d_vision"]:
    """Returns the features of patches on another grid, between the nearest cells of their own."""
    if patches.grid == grid:
        return patches.features
    cells = rearrange(patches.features, "i (r c) d -> i d r c", r=patches.grid[0])
    moved = interpolate(cells.float(), size=grid, mode="bilinear", antialias=True)
    return rearrange(moved, "i d r c -> i (r c) d").to(patches.features.dtype)
