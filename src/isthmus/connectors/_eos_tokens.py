"""Learned tokens that close an image, the same for every image."""

from typing import final

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from isthmus.connectors._initialization import STD


@final
class EosTokens(nn.Module):
    """Stands behind the tokens of each image.

    Paper: mPLUG-Owl, arXiv 2304.14178, and Honeybee, arXiv 2312.06742 (in their code).
    Shape: (images, tokens, width) -> (images, tokens + number, width).
    """

    def __init__(self, number: int, width: int) -> None:
        """Builds the tokens."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(number, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights."""
        nn.init.normal_(self.weight, std=STD)

    def forward(self, tokens: Float[Tensor, "images _ _"]) -> Float[Tensor, "images _ _"]:
        """Returns the tokens of each image with these behind them."""
        closing = repeat(self.weight, "tokens d -> images tokens d", images=len(tokens))
        return torch.cat([tokens, closing], dim=1)


def eos_tokens(number: int, width: int) -> nn.Module:
    """Returns what appends that many tokens, which for none of them is nothing at all."""
    return EosTokens(number, width) if number else nn.Identity()
