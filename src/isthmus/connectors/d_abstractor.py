"""D-Abstractor: queries on a grid look at a few points of the map of patches each, layer by layer.

Each query has a reference point in the image, at first its place on a uniform grid. What it starts
from is half learned and half the map itself, pooled to the grid of queries. In each layer of a
Deformable DETR decoder the queries look at each other and at a few points near their references;
after the last layer a linear map brings them to the width of the language model.
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from transformers import initialization as init

from isthmus.axes import Patches
from isthmus.connectors._decoder_layer import DecoderLayer
from isthmus.connectors._deformable import DeformableAttention
from isthmus.connectors._eos_tokens import eos_tokens
from isthmus.connectors._frames import apart, one_after_another
from isthmus.connectors._initialization import STD, draw_matrices
from isthmus.connectors._positions import CellPositions
from isthmus.connectors._query_grid import query_grid
from isthmus.connectors.base import Connector, ConnectorConfig


@final
class DAbstractor(Connector):
    """Gathers the patches with queries that choose where to look.

    Paper: Honeybee, arXiv 2312.06742, table 9; the layers are those of Deformable DETR, arXiv
    2010.04159.
    Shape: (images, patches, d_vision) -> (images, queries + eos, d_text).
    Differs: any grid of patches and any of queries, not squares alone. Several levels go with
    pooled queries, which then are of the first level, and each gets a learned vector; the published
    code builds references for one level only. Only the looking is kept in float32, where the
    published code forces the whole module. Fixed or central references are the arm of table 9 that
    the published code names in its settings and does not read. Of a clip each frame is read as an
    image, and the eos tokens stand behind the last; the published code knows single images.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Queries, layers and points of a D-Abstractor."""

        num_queries: int = 144
        """Visual tokens per image before the eos tokens."""
        query_grid: tuple[int, int] | None = None
        """Rows and columns of the queries; None: a square."""
        depth: int = 6
        """Decoder layers."""
        d_hidden: int | None = None
        """Width of the layers; that of a patch at one level when None."""
        d_ffn: int | None = None
        """Inner width of the feed-forward parts; that of the layers when None."""
        num_heads: int = 8
        """Heads of both attentions."""
        num_points: int = 4
        """Points at which a head looks, per level."""
        num_levels: int = 1
        """Layers of the vision tower that stand side by side in a patch, all of one width."""
        pooled: Literal["query", "target", "none"] = "query"
        """What the pooled map is: the positions by which queries find each other (`query`), or what
        they hold (`target`); the other is learned. With `none`, both are."""
        reference_points: Literal["grid", "centre"] = "grid"
        """Where the reference points start: on a uniform grid, or all in the middle."""
        learn_points: bool = True
        """Whether training moves the reference points."""
        initialization: Literal["honeybee", "deformable_detr"] = "honeybee"
        """Where a query looks at first: almost only at its reference (what the published code comes
        to), or in another direction with each head (what Deformable DETR means)."""
        positions: bool = True
        """Whether a learned vector per cell of the grid is added to the patches."""
        dropout: float = 0.1
        """Share of each part's output that training drops."""
        num_eos_tokens: int = 0
        """Learned tokens behind those of the image, added before the last linear map."""

        def __post_init__(self) -> None:
            """Checks the counts and widths.

            Raises:
                ValueError: the queries fill no grid, or a number is out of its range.
            """
            query_grid(self.kind, self.num_queries, self.query_grid)
            counts = ("depth", "d_hidden", "d_ffn", "num_heads", "num_points", "num_levels")
            for name in counts:
                if (value := getattr(self, name)) is not None and value < 1:
                    raise ValueError(f"{self.kind}.{name} is {value}; expected 1 or more")
            if not 0 <= self.dropout < 1:
                raise ValueError(
                    f"{self.kind}.dropout is {self.dropout}; expected 0 or more, and less than 1"
                )
            if self.num_eos_tokens < 0:
                raise ValueError(
                    f"{self.kind}.num_eos_tokens is {self.num_eos_tokens}; expected 0 or more"
                )

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per query and the eos tokens, whatever the grid."""
            return self.num_queries + self.num_eos_tokens

        @property
        def boundaries(self) -> tuple[int, int]:
            """The eos tokens, which stand behind those of the patches."""
            return (0, self.num_eos_tokens)

    config: Config
    reference_points: Tensor

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the queries, their reference points and the layers.

        Raises:
            ValueError: the widths cannot be shared out among levels or heads.
        """
        super().__init__()
        self.config = config
        self.grid = grid
        self.query_grid = query_grid(config.kind, config.num_queries, config.query_grid)
        d_level = d_vision // config.num_levels
        width = config.d_hidden or d_level
        for what, total, parts in (
            ("patch", d_vision, "num_levels"),
            ("layer (d_hidden)", width, "num_heads"),
        ):
            if total % getattr(config, parts):
                raise ValueError(
                    f"the width of a {what} is {total}; expected a multiple of {config.kind}."
                    f"{parts}, {getattr(config, parts)}"
                )
        self.projections = nn.ModuleList(_between(d_level, width) for _ in range(config.num_levels))
        self.positions = CellPositions(grid, width) if config.positions else None
        self.levels = (
            nn.Parameter(torch.empty(config.num_levels, width)) if config.num_levels > 1 else None
        )
        learned = 2 * width if config.pooled == "none" else width
        self.queries = nn.Parameter(torch.empty(config.num_queries, learned))
        points = torch.empty(config.num_queries, 2)
        if config.learn_points:
            self.reference_points = nn.Parameter(points)
        else:
            self.register_buffer("reference_points", points)
        self.layers = nn.ModuleList(
            DecoderLayer(
                width,
                d_ffn=config.d_ffn or width,
                num_heads=config.num_heads,
                num_points=config.num_points,
                num_levels=config.num_levels,
                dropout=config.dropout,
            )
            for _ in range(config.depth)
        )
        self.eos_tokens = eos_tokens(config.num_eos_tokens, width)
        self.projection = _between(width, d_text)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights, and sets the reference points."""
        super().reset_parameters()
        draw_matrices(self)
        nn.init.normal_(self.queries, std=STD)
        if self.levels is not None:
            nn.init.normal_(self.levels, std=STD)
        if self.config.initialization == "deformable_detr":
            for part in self.modules():
                if isinstance(part, DeformableAttention):
                    part.spread_points()
        init.copy_(self.reference_points, self._first_points())

    def _first_points(self) -> Float[Tensor, "queries 2"]:
        """Returns the reference points of a fresh model, x before y.

        The outermost queries refer to the middle of the outermost patches.
        """
        axes = []
        for number, cells in zip(self.query_grid, self.grid, strict=True):
            alone = number == 1 or self.config.reference_points == "centre"
            edge = cells / 2 if alone else 0.5
            # Not on the meta device, where a model may be built that is loaded next.
            axes.append(torch.linspace(edge, cells - edge, number, device="cpu") / cells)
        y, x = torch.meshgrid(*axes, indexing="ij")
        return torch.stack([x.flatten(), y.flatten()], dim=-1)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Turns the patches into tokens, row by row of the queries' grid, frame after frame."""
        frames = apart(patches.features, patches.num_frames)
        levels = frames.chunk(self.config.num_levels, dim=-1)
        features = torch.stack(
            [project(level) for project, level in zip(self.projections, levels, strict=True)], dim=1
        )
        if self.positions is not None:
            features = features + self.positions(patches.grid)
        if self.levels is not None:
            features = features + rearrange(self.levels, "l d -> l 1 d")
        positions, queries = self._first_queries(features[:, 0], patches.grid)
        features = rearrange(features, "i l n d -> i (l n) d")
        for layer in self.layers:
            queries = layer(queries, positions, self.reference_points, features, patches.grid)
        queries = one_after_another(queries, patches.num_frames)
        return self.projection(self.eos_tokens(queries))

    def _first_queries(
        self, features: Float[Tensor, "images patches d_hidden"], grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Returns the positions of the queries, and what they hold before the first layer."""
        learned = repeat(self.queries, "q d -> i q d", i=len(features))
        if self.config.pooled == "none":
            positions, held = learned.chunk(2, dim=-1)
            return positions, held
        maps = rearrange(features, "i (r c) d -> i d r c", r=grid[0])
        pooled = rearrange(adaptive_avg_pool2d(maps, self.query_grid), "i d r c -> i (r c) d")
        return (pooled, learned) if self.config.pooled == "query" else (learned, pooled)


def _between(before: int, after: int) -> nn.Module:
    """Returns a linear map between two widths, and nothing where they are the same."""
    return nn.Identity() if before == after else nn.Linear(before, after)


CONNECTOR = DAbstractor
