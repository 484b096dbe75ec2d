"""Deformable attention: a query looks at a few points of a map that it chooses itself.

Each query has a reference point. From its content it derives, per head and per map, a few offsets
from that point and a weight for each; what lies there is read between the four nearest cells, and
the weighted sum is what the query gathers.
"""

import math
from typing import final

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding_bag
from transformers import initialization as init

from isthmus.connectors._initialization import draw_matrices


@final
class DeformableAttention(nn.Module):
    """Gathers, for each query, what lies at the points that it derives from itself.

    Paper: Deformable DETR, arXiv 2010.04159, section 4.1, equations 2 and 3.
    Units: a reference point is in shares of the map's width and height, an offset in cells.
    Differs: all maps are of one size. Places, weights and the sum are in float32 at least, whatever
    comes in.
    """

    def __init__(self, width: int, *, num_heads: int, num_points: int, num_levels: int) -> None:
        """Builds the maps from queries to points, and those of the values."""
        super().__init__()
        self.num_heads, self.num_points, self.num_levels = num_heads, num_points, num_levels
        looks = num_heads * num_levels * num_points
        self.offsets = nn.Linear(width, 2 * looks)
        self.weights = nn.Linear(width, looks)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights: at first all points of a query lie almost at its reference."""
        draw_matrices(self)

    def spread_points(self) -> None:
        """Draws fresh weights as Deformable DETR does.

        Each head looks in a direction of its own, at its first point one cell away, at its second
        two, and so on, and weighs them all the same, whatever the query.
        """
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1).repeat(self.num_levels)
        offsets = directions[:, None] * steps[:, None]
        init.zeros_(self.offsets.weight)
        init.copy_(self.offsets.bias, offsets.flatten())
        init.zeros_(self.weights.weight)
        init.zeros_(self.weights.bias)
        for linear in (self.value, self.output):
            init.xavier_uniform_(linear.weight)
            init.zeros_(linear.bias)

    def forward(
        self,
        queries: Float[Tensor, "images queries d_hidden"],
        points: Float[Tensor, "queries 2"],
        features: Float[Tensor, "images _ d_hidden"],
        grid: tuple[int, int],
    ) -> Float[Tensor, "images queries d_hidden"]:
        """Returns what each query gathers.

        Args:
            queries: what asks.
            points: the reference points, x before y.
            features: the cells of the first map row by row, then those of the next.
            grid: rows and columns of a map.
        """
        heads, levels = self.num_heads, self.num_levels
        precise = torch.promote_types(queries.dtype, torch.float32)
        offsets = rearrange(
            self.offsets(queries).to(precise),
            "i q (h l p x) -> x i q h l p",
            h=heads,
            l=levels,
            x=2,
        )
        weights = rearrange(self.weights(queries).to(precise), "i q (h s) -> i q h s", h=heads)
        weights = rearrange(weights.softmax(dim=-1), "i q h (l p) -> i q h l p", l=levels)
        # The middle of the first cell of a row is at 0, that of the next at 1.
        x, y = (
            rearrange(point * size - 0.5, "q -> q 1 1 1") + offset
            for point, offset, size in zip(points.to(precise).T, offsets, grid[::-1], strict=True)
        )
        values = rearrange(self.value(features).to(precise), "i n (h d) -> i n h d", h=heads)
        gathered = read_between(values, x, y, weights, grid)
        return self.output(rearrange(gathered, "i q h d -> i q (h d)").to(queries.dtype))


def read_between(
    values: Float[Tensor, "images _ heads d_head"],
    x: Float[Tensor, "images queries heads _ _"],
    y: Float[Tensor, "images queries heads _ _"],
    weights: Float[Tensor, "images queries heads _ _"],
    grid: tuple[int, int],
) -> Float[Tensor, "images queries heads d_head"]:
    """Returns the weighted sum of what lies at some places of each level of a map.

    A place takes from its four nearest cells, from each the more the nearer it is. A table look-up
    that sums, with every head of every cell as a row, does in one pass over those cells what a
    bilinear sampler and a weighted sum do in several over all points and channels.

    Args:
        values: cells of the first level row by row, then those of the next.
        x: columns of the places, by level and point.
        y: their rows.
        weights: their weights.
        grid: rows and columns of a level.
    """
    images, num_queries, num_heads, num_levels, _ = x.shape
    rows, row_shares = _two_nearest(y, grid[0])
    columns, column_shares = _two_nearest(x, grid[1])
    level = torch.arange(images * num_levels, device=x.device)
    level = rearrange(level, "(i l) -> i 1 1 l 1", i=images, l=num_levels)
    head = rearrange(torch.arange(num_heads, device=x.device), "h -> h 1 1")
    rows = (level * grid[0] + rows) * (grid[1] * num_heads) + head
    columns = columns * num_heads
    row_shares = weights * row_shares
    # Corner by corner: as two more axes of length 2 they would leave only short loops, which are
    # slow, backwards above all.
    places = torch.stack([row + column for row in rows for column in columns], dim=-1)
    shares = torch.stack([row * column for row in row_shares for column in column_shares], dim=-1)
    read = embedding_bag(
        rearrange(places, "i q h l p corner -> (i q h) (l p corner)"),
        rearrange(values, "i n h d -> (i n h) d"),
        per_sample_weights=rearrange(shares, "i q h l p corner -> (i q h) (l p corner)"),
        mode="sum",
    )
    return rearrange(read, "(i q h) d -> i q h d", i=images, q=num_queries, h=num_heads)


def _two_nearest(
    places: Float[Tensor, "..."], size: int
) -> tuple[Int[Tensor, "2 ..."], Float[Tensor, "2 ..."]]:
    """Returns the cells on both sides of each place along an axis, and the share of each."""
    lower = places.floor()
    share = places - lower
    cells = torch.stack([lower, lower + 1])
    shares = torch.stack([1 - share, share])
    # Outside the map there are zeros. What is not a number counts as outside, so that a lost model
    # gives a lost number and not a read from nowhere.
    inside = (cells >= 0) & (cells < size)
    return torch.where(inside, cells, 0).long(), shares * inside
