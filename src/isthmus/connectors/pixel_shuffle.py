"""Pixel shuffle: a square of neighbouring patches becomes one wide vector, and that one token.

The grid is cut into squares of `factor` by `factor` patches. The vectors of a square are laid side
by side, row by row, and one linear map brings them to the width of the language model: fewer
tokens, and nothing of a patch is thrown away before the map.
"""

from dataclasses import dataclass
from typing import final

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from isthmus.axes import Patches
from isthmus.connectors.base import Connector, ConnectorConfig


@final
class PixelShuffle(Connector):
    """Joins squares of neighbouring patches, then maps each to a token.

    Paper: Idefics3, arXiv 2408.12637 (factor 2); SmolVLM, arXiv 2504.05299.
    Shape: (images, patches, d_vision) -> (images, patches / factor^2, d_text).
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Size of the squares."""

        factor: int = 2
        """Patches along each side of a square."""

        def __post_init__(self) -> None:
            """Checks that a square holds a patch.

            Raises:
                ValueError: the factor is below one.
            """
            if self.factor < 1:
                raise ValueError(f"pixel_shuffle.factor is {self.factor}; expected 1 or more")

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per square.

            Raises:
                ValueError: squares do not fill the grid.
            """
            rows, columns = grid
            if rows % self.factor or columns % self.factor:
                raise ValueError(
                    f"pixel_shuffle.factor is {self.factor}, which does not divide a grid of "
                    f"{rows} x {columns} patches; choose another factor or image size"
                )
            return rows * columns // self.factor**2

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the map.

        Raises:
            ValueError: squares do not fill the grid.
        """
        super().__init__()
        config.num_tokens(grid)
        self.config = config
        self.factor = config.factor
        self.projection = nn.Linear(config.factor**2 * d_vision, d_text, bias=False)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Maps each square of patches to a token.

        Raises:
            ValueError: squares do not fill the grid.
        """
        self.config.num_tokens(patches.grid)
        return self.projection(joined(patches, self.factor))


def joined(patches: Patches, factor: int) -> Float[Tensor, "images tokens _"]:
    """Returns the squares of patches, row by row, each as one vector."""
    return rearrange(
        patches.features,
        "i (f r r2 c c2) d -> i (f r c) (r2 c2 d)",
        f=patches.num_frames,
        r2=factor,
        c=patches.grid[1] // factor,
        c2=factor,
    )


CONNECTOR = PixelShuffle
