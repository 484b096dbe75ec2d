"""GLU connector: a gated perceptron per patch, between two learned vectors.

A linear map takes each patch to the width of the language model; a layer norm, a GELU and a gated
feed-forward part of the language model's own size follow. One vector says where the image begins
(boi), another where it ends (eoi). Of larger images, each block of two by two patches is first made
one.
"""

from dataclasses import dataclass
from typing import final

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from isthmus.axes import Patches
from isthmus.connectors._initialization import STD
from isthmus.connectors.base import Connector, ConnectorConfig

HIDDEN_RATIO = 11008 / 4096
"""Inner width of the paper's gated part, in widths of its language model."""


@final
class GLU(Connector):
    """Maps each patch, or each block of four, through a gated perceptron.

    Paper: CogVLM, arXiv 2311.03079, section 2.1 (the "MLP adapter", in its code a SwiGLU); the
    convolution is that of CogVLM2, arXiv 2408.16500.
    Shape: (images, patches, d_vision) -> (images, tokens, d_text); tokens are the patches, or a
    quarter of them, and the two vectors around them.
    Differs: the vectors around the image start at N(0, 0.02), the published ones at zero. There an
    RMS norm is steepest, by one over the root of its epsilon, so that their gradient is several
    times that of all other weights together, and clipping by the norm takes it from those. Frames
    of a clip follow each other between the two vectors; the published code knows single images.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Width of the gated part, and what surrounds it."""

        d_hidden: int | None = None
        """Inner width of the gated part; the paper's ratio to the language model's, 11008 to 4096,
        when None."""
        downsample: bool = False
        """Whether a convolution first makes one patch of each two by two."""
        boi_eoi: bool = True
        """Whether the two learned vectors stand before and behind the image."""

        def __post_init__(self) -> None:
            """Checks the width.

            Raises:
                ValueError: it is below one.
            """
            if self.d_hidden is not None and self.d_hidden < 1:
                raise ValueError(f"glu.d_hidden is {self.d_hidden}; expected 1 or more, or None")

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per patch or block of four, and two for the vectors around them.

            Raises:
                ValueError: the grid does not divide into blocks.
            """
            rows, columns = grid
            if self.downsample:
                if rows % 2 or columns % 2:
                    raise ValueError(
                        f"glu.downsample joins blocks of 2 x 2 patches, which a grid of {rows} x "
                        f"{columns} does not divide into; give images of an even number of patches "
                        "each way, or set it to false"
                    )
                rows, columns = rows // 2, columns // 2
            return rows * columns + sum(self.boundaries)

        @property
        def boundaries(self) -> tuple[int, int]:
            """The vectors that stand before the patches, and behind them."""
            return (1, 1) if self.boi_eoi else (0, 0)

        @property
        def keeps_patches(self) -> bool:
            """Whether no convolution makes one patch of four."""
            return not self.downsample

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the layers; the grid does not matter to them."""
        super().__init__()
        self.config = config
        d_hidden = round(HIDDEN_RATIO * d_text) if config.d_hidden is None else config.d_hidden
        self.convolution = (
            nn.Conv2d(d_vision, d_vision, kernel_size=2, stride=2) if config.downsample else None
        )
        self.projection = nn.Linear(d_vision, d_text, bias=False)
        self.norm = nn.LayerNorm(d_text)
        self.gate = nn.Linear(d_text, d_hidden, bias=False)
        self.up = nn.Linear(d_text, d_hidden, bias=False)
        self.down = nn.Linear(d_hidden, d_text, bias=False)
        self.boi = nn.Parameter(torch.empty(d_text)) if config.boi_eoi else None
        self.eoi = nn.Parameter(torch.empty(d_text)) if config.boi_eoi else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        super().reset_parameters()
        for vector in (self.boi, self.eoi):
            if vector is not None:
                nn.init.normal_(vector, std=STD)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Maps the patches of each image, and puts the two vectors around them.

        Raises:
            ValueError: blocks of four are to be joined, and the grid does not divide into them.
        """
        features = patches.features
        if self.convolution is not None:
            self.config.num_tokens(patches.grid)
            cells = rearrange(
                features,
                "i (f r c) d -> (i f) d r c",
                f=patches.num_frames,
                r=patches.grid[0],
            )
            features = rearrange(
                self.convolution(cells), "(i f) d r c -> i (f r c) d", f=patches.num_frames
            )
        states = gelu(self.norm(self.projection(features)))
        tokens = self.down(silu(self.gate(states)) * self.up(states))
        if self.boi is None or self.eoi is None:
            return tokens
        boi, eoi = (repeat(v, "d -> i 1 d", i=len(tokens)) for v in (self.boi, self.eoi))
        return torch.cat([boi, tokens, eoi], dim=1)


CONNECTOR = GLU
