"""A learned vector for each cell of the grid, which other grids interpolate."""

from typing import final

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

STD = 0.02
"""Standard deviation of fresh positions."""


@final
class CellPositions(nn.Module):
    """Tells a connector where a patch lies.

    Shape: (images, patches, width) -> (images, patches, width).
    """

    def __init__(self, grid: tuple[int, int], width: int) -> None:
        """Builds the vectors for the grid that images have in training."""
        super().__init__()
        self.grid = grid
        self.weight = nn.Parameter(torch.empty(grid[0] * grid[1], width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        nn.init.trunc_normal_(self.weight, std=STD)

    def forward(self, grid: tuple[int, int]) -> Float[Tensor, "patches width"]:
        """Returns the vectors of a grid's cells, interpolated where it is not the learned one."""
        if grid == self.grid:
            return self.weight
        # In float32: not every device interpolates in half precision.
        cells = rearrange(self.weight.float(), "(r c) d -> 1 d r c", r=self.grid[0])
        resized = interpolate(cells, size=grid, mode="bicubic", antialias=True, align_corners=False)
        return rearrange(resized, "1 d r c -> (r c) d").to(self.weight)
