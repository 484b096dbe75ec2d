"""Honeybee's resampler: learned queries read the patches, and what adds up are the normed queries.

The patches are mapped to the width of the queries. In each layer the queries are normed and ask;
the normed patches and the queries themselves answer; what is gathered is added to the queries as
they asked, not as they came. A gated feed-forward part with a norm inside follows and adds to that.
A last linear map brings the queries to the width of the language model.
"""

from dataclasses import dataclass
from typing import final

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from isthmus.axes import Patches
from isthmus.connectors._eos_tokens import eos_tokens
from isthmus.connectors._initialization import STD, draw_matrices
from isthmus.connectors._positions import CellPositions
from isthmus.connectors.base import Connector, ConnectorConfig


@final
class HoneybeeResampler(Connector):
    """Reads the patches into a fixed number of queries.

    Paper: the baseline of Honeybee, arXiv 2312.06742, tables 3, 8 and 9; the visual abstractor of
    mPLUG-Owl, arXiv 2304.14178.
    Shape: (images, patches, d_vision) -> (images, queries + eos, d_text).
    Differs: queries start at N(0, 0.02), where the published code starts them at zero and draws
    nothing over it: all its tokens are then the same at first. The queries read all frames of a
    clip at once, which costs no more tokens than an image; the published code knows single images.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Queries and layers of the resampler."""

        num_queries: int = 64
        """Visual tokens per image before the eos tokens (the paper compares 64 to 400)."""
        depth: int = 6
        """Layers of cross-attention and feed-forward."""
        d_hidden: int = 1024
        """Width of the queries."""
        d_ffn: int | None = None
        """Inner width of the feed-forward parts; four times that of the queries when None."""
        inner_norm_eps: float = 1e-6
        """Epsilon of the norm inside the feed-forward parts; that of the others is 1e-5."""
        num_heads: int = 16
        """Attention heads; together they are as wide as the queries."""
        attention_dropout: float = 0.1
        """Share of the attention's weights that training drops."""
        positions: bool = False
        """Whether a learned vector per cell of the grid is added to the patches."""
        num_eos_tokens: int = 0
        """Learned tokens behind those of the image."""

        def __post_init__(self) -> None:
            """Checks the counts and widths.

            Raises:
                ValueError: a number is out of its range, or the heads cannot share the width.
            """
            for name in ("num_queries", "depth", "d_hidden", "d_ffn", "num_heads"):
                if (value := getattr(self, name)) is not None and value < 1:
                    raise ValueError(f"{self.kind}.{name} is {value}; expected 1 or more")
            if self.d_hidden % self.num_heads:
                raise ValueError(
                    f"{self.kind}.d_hidden is {self.d_hidden}; expected a multiple of num_heads, "
                    f"{self.num_heads}"
                )
            if not 0 <= self.attention_dropout < 1:
                raise ValueError(
                    f"{self.kind}.attention_dropout is {self.attention_dropout}; expected 0 or "
                    "more, and less than 1"
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
            """The eos tokens, which stand behind those that read the patches."""
            return (0, self.num_eos_tokens)

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the queries and layers."""
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.empty(config.num_queries, config.d_hidden))
        self.positions = CellPositions(grid, d_vision) if config.positions else None
        self.input = nn.Linear(d_vision, config.d_hidden)
        self.layers = nn.ModuleList(ResamplerLayer(config) for _ in range(config.depth))
        self.output = nn.Linear(config.d_hidden, d_text)
        self.eos_tokens = eos_tokens(config.num_eos_tokens, d_text)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        super().reset_parameters()
        draw_matrices(self)
        nn.init.normal_(self.queries, std=STD)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Reads the patches of each image, of all its frames, into the queries."""
        features = patches.features
        if self.positions is not None:
            cells = self.positions(patches.grid)
            features = features + repeat(cells, "p d -> (f p) d", f=patches.num_frames)
        features = self.input(features)
        queries = repeat(self.queries, "q d -> i q d", i=len(features))
        for layer in self.layers:
            queries = layer(queries, features)
        return self.eos_tokens(self.output(queries))


@final
class ResamplerLayer(nn.Module):
    """One layer: the queries attend to themselves and the patches, then pass a gated part."""

    def __init__(self, config: HoneybeeResampler.Config) -> None:
        """Builds the attention and the feed-forward part."""
        super().__init__()
        self.num_heads, self.dropout = config.num_heads, config.attention_dropout
        width = config.d_hidden
        inner = config.d_ffn or 4 * width
        self.query_norm = nn.LayerNorm(width)
        self.patch_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, inner)
        self.up = nn.Linear(width, inner)
        self.inner_norm = nn.LayerNorm(inner, config.inner_norm_eps)
        self.down = nn.Linear(inner, width)

    def forward(
        self,
        queries: Float[Tensor, "images queries d_hidden"],
        patches: Float[Tensor, "images patches d_hidden"],
    ) -> Float[Tensor, "images queries d_hidden"]:
        """Returns the queries after this layer."""
        queries = self.query_norm(queries)
        answering = torch.cat([queries, self.patch_norm(patches)], dim=1)
        query, key, value = (
            rearrange(states, "i s (h d) -> i h s d", h=self.num_heads)
            for states in (self.query(queries), self.key(answering), self.value(answering))
        )
        dropped = self.dropout if self.training else 0.0
        gathered = scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        queries = queries + self.attention_output(rearrange(gathered, "i h q d -> i q (h d)"))
        normed = self.feed_forward_norm(queries)
        return queries + self.down(self.inner_norm(silu(self.gate(normed)) * self.up(normed)))


CONNECTOR = HoneybeeResampler
