"""C-Abstractor: convolutions over the grid of patches, with a pooling to fewer cells between them.

The patches are laid out as the map they are, a stage of convolution blocks looks at it, adaptive
average pooling brings it to the grid of tokens, a second stage looks at that, and a perceptron
maps each cell to the width of the language model. So the number of tokens is free, and each token
still stands for its own place in the image.
"""

from dataclasses import dataclass
from typing import final

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from isthmus.axes import Patches
from isthmus.connectors._eos_tokens import eos_tokens
from isthmus.connectors._frames import apart, one_after_another
from isthmus.connectors._initialization import draw_matrices
from isthmus.connectors._positions import CellPositions
from isthmus.connectors._query_grid import query_grid
from isthmus.connectors._regnet import stage
from isthmus.connectors.base import Connector, ConnectorConfig
from isthmus.connectors.mlp import MLP

PRENORM_EPS = 1e-6
"""Epsilon of the norm of the patches; that of the norms inside the blocks is 1e-5."""


@final
class CAbstractor(Connector):
    """Convolves, pools, convolves again, and reads out each cell.

    Paper: Honeybee, arXiv 2312.06742, table 9 (its best projector). Its text calls the blocks
    ResNet's with squeeze-and-excitation; its code has RegNet's, and so has this. With `depth` 0
    there is only the pooling before the perceptron, as in DeCo, arXiv 2405.20985.
    Shape: (images, patches, d_vision) -> (images, queries + eos, d_text).
    Differs: any grid of patches and any of tokens, not squares alone. Positions are added to a
    copy of the patches, not to the caller's. Of a clip each frame is read as an image, and the eos
    tokens stand behind the last; the published code knows single images.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Tokens, blocks and readout of a C-Abstractor."""

        num_queries: int = 144
        """Visual tokens per image before the eos tokens; more than patches is allowed."""
        query_grid: tuple[int, int] | None = None
        """Rows and columns of the tokens; None: a square."""
        depth: int = 3
        """Blocks before the pooling, and as many after it; 0 for none."""
        d_hidden: int | None = None
        """Width of the blocks; that of the patches when None."""
        readout_depth: int = 2
        """Linear layers of the perceptron, with SiLU between them."""
        prenorm: bool = False
        """Whether a layer norm of the patches comes first."""
        positions: bool = True
        """Whether a learned vector per cell of the grid is added to the patches."""
        num_eos_tokens: int = 0
        """Learned tokens behind those of the image."""

        def __post_init__(self) -> None:
            """Checks the counts.

            Raises:
                ValueError: the tokens fill no grid, a count is too small, or there is no block
                    that a width is for.
            """
            query_grid(self.kind, self.num_queries, self.query_grid)
            for name, least in (("depth", 0), ("readout_depth", 1), ("num_eos_tokens", 0)):
                if (value := getattr(self, name)) < least:
                    raise ValueError(f"{self.kind}.{name} is {value}; expected {least} or more")
            if self.d_hidden is not None and (self.depth < 1 or self.d_hidden < 1):
                raise ValueError(
                    f"{self.kind}.d_hidden is {self.d_hidden} at depth {self.depth}; expected 1 or "
                    "more, and a block that has this width (depth 1 or more)"
                )

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per query and the eos tokens, whatever the grid."""
            return self.num_queries + self.num_eos_tokens

        @property
        def boundaries(self) -> tuple[int, int]:
            """The eos tokens, which stand behind those of the patches."""
            return (0, self.num_eos_tokens)

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the stages and the readout."""
        super().__init__()
        self.config = config
        self.query_grid = query_grid(config.kind, config.num_queries, config.query_grid)
        width = config.d_hidden or d_vision
        self.prenorm = nn.LayerNorm(d_vision, PRENORM_EPS) if config.prenorm else nn.Identity()
        self.positions = CellPositions(grid, d_vision) if config.positions else None
        self.stage_1 = stage(config.depth, d_vision, width)
        self.stage_2 = stage(config.depth, width, width)
        readout = MLP.Config(depth=config.readout_depth, activation="silu")
        self.readout = MLP(readout, d_vision=width, d_text=d_text, grid=self.query_grid).layers
        self.eos_tokens = eos_tokens(config.num_eos_tokens, d_text)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        super().reset_parameters()
        draw_matrices(self)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Turns the patches of each image into tokens, row by row, frame after frame."""
        features = self.prenorm(apart(patches.features, patches.num_frames))
        if self.positions is not None:
            features = features + self.positions(patches.grid)
        maps = self.stage_1(rearrange(features, "i (r c) d -> i r c d", r=patches.grid[0]))
        pooled = adaptive_avg_pool2d(rearrange(maps, "i r c d -> i d r c"), self.query_grid)
        maps = self.stage_2(rearrange(pooled, "i d r c -> i r c d"))
        tokens = self.readout(rearrange(maps, "i r c d -> i (r c) d"))
        return self.eos_tokens(one_after_another(tokens, patches.num_frames))


CONNECTOR = CAbstractor
