"""Attentional pooler: learned queries read the patches once, and a norm ends it.

The queries start the same for every image. Each asks, all patches answer, in one cross-attention;
a layer norm follows, and a linear map to the width of the language model. No query sees another,
none is added to what it gathered, and there is no feed-forward part.
"""

from dataclasses import dataclass
from typing import final

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from isthmus.axes import Patches
from isthmus.connectors.base import Connector, ConnectorConfig


@final
class AttentionalPooler(Connector):
    """Gathers the patches into a fixed number of queries, in one step.

    Paper: CoCa, arXiv 2205.01917, section 3.2 (256 queries for its decoder); the first stage of
    PaLM2-VAdapter, arXiv 2402.10896, section 3.3 and table 4.
    Shape: (images, patches, d_vision) -> (images, queries, d_text).
    Differs: norms before the attention and its biases are those of open_clip's CoCa; its key bias
    is left out, since a softmax over the keys does not see it. The papers name no map behind the
    norm: their decoders are as wide as the pooler.
    """

    reads_masks = True

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Queries and heads; the heads together are as wide as a query."""

        num_queries: int = 256
        """Visual tokens per image."""
        num_heads: int = 8
        """Attention heads."""
        d_head: int = 64
        """Width of an attention head."""

        def __post_init__(self) -> None:
            """Checks that every count is positive.

            Raises:
                ValueError: a count is below one.
            """
            for name in ("num_queries", "num_heads", "d_head"):
                if (value := getattr(self, name)) < 1:
                    raise ValueError(f"attentional_pooler.{name} is {value}; expected 1 or more")

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per query, whatever the grid."""
            return self.num_queries

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the queries and maps; the grid does not matter to them."""
        super().__init__()
        self.config = config
        self.num_heads = config.num_heads
        width = config.num_heads * config.d_head
        self.queries = nn.Parameter(torch.empty(config.num_queries, width))
        self.query_norm = nn.LayerNorm(width)
        self.patch_norm = nn.LayerNorm(d_vision)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(d_vision, width, bias=False)
        self.value = nn.Linear(d_vision, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, d_text)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights, those of the attention as torch's own attention draws them."""
        super().reset_parameters()
        nn.init.normal_(self.queries)
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight)
        for linear in (self.query, self.value, self.output):
            nn.init.zeros_(linear.bias)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Gathers the patches of each image, of all its frames, without its padding."""
        asking = self.query(self.query_norm(self.queries))
        answering = self.patch_norm(patches.features)
        queries = repeat(asking, "q d -> i q d", i=len(answering))
        queries, keys, values = (
            rearrange(states, "i s (h d) -> i h s d", h=self.num_heads)
            for states in (queries, self.key(answering), self.value(answering))
        )
        seen = None if patches.mask is None else rearrange(patches.mask, "i p -> i 1 1 p")
        gathered = scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        tokens = self.norm(self.output(rearrange(gathered, "i h q d -> i q (h d)")))
        return self.projection(tokens)


CONNECTOR = AttentionalPooler
