"""A layer of Deformable DETR's decoder: queries look at each other, then at the map."""

from typing import final

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from isthmus.connectors._deformable import DeformableAttention


@final
class DecoderLayer(nn.Module):
    """Self-attention, deformable attention and a feed-forward part, a norm behind each sum.

    Paper: Deformable DETR, arXiv 2010.04159, section 4.2.
    """

    def __init__(
        self,
        width: int,
        *,
        d_ffn: int,
        num_heads: int,
        num_points: int,
        num_levels: int,
        dropout: float,
    ) -> None:
        """Builds the three parts."""
        super().__init__()
        self.self_attention = SelfAttention(width, num_heads)
        self.self_attention_norm = nn.LayerNorm(width)
        self.deformable_attention = DeformableAttention(
            width, num_heads=num_heads, num_points=num_points, num_levels=num_levels
        )
        self.deformable_attention_norm = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, d_ffn)
        self.linear_2 = nn.Linear(d_ffn, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        queries: Float[Tensor, "images queries d_hidden"],
        positions: Float[Tensor, "#images queries d_hidden"],
        points: Float[Tensor, "queries 2"],
        features: Float[Tensor, "images _ d_hidden"],
        grid: tuple[int, int],
    ) -> Float[Tensor, "images queries d_hidden"]:
        """Returns the queries after this layer.

        Args:
            queries: what the queries hold.
            positions: what tells them apart; added wherever they ask or answer, and to nothing
                that they pass on.
            points: where they look, x before y, in shares of the map.
            features: cells of the maps.
            grid: rows and columns of a map.
        """
        heard = self.self_attention(queries + positions, queries)
        queries = self.self_attention_norm(queries + self.dropout(heard))
        seen = self.deformable_attention(queries + positions, points, features, grid)
        queries = self.deformable_attention_norm(queries + self.dropout(seen))
        hidden = self.linear_2(relu(self.linear_1(queries)))
        return self.feed_forward_norm(queries + self.dropout(hidden))


@final
class SelfAttention(nn.Module):
    """Attention of the queries among each other, whose keys know more than their values."""

    def __init__(self, width: int, num_heads: int) -> None:
        """Builds the four maps."""
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        asking: Float[Tensor, "images queries d_hidden"],
        telling: Float[Tensor, "images queries d_hidden"],
    ) -> Float[Tensor, "images queries d_hidden"]:
        """Returns what each query hears from all.

        Args:
            asking: the queries by which they find each other.
            telling: the queries as they pass on.
        """
        heads = (
            rearrange(states, "i q (h d) -> i h q d", h=self.num_heads)
            for states in (self.query(asking), self.key(asking), self.value(telling))
        )
        heard = scaled_dot_product_attention(*heads)
        return self.output(rearrange(heard, "i h q d -> i q (h d)"))
