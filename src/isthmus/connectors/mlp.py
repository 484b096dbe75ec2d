"""MLP connector: a small perceptron per patch, every patch becomes a token."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor, nn

from isthmus.axes import Patches
from isthmus.connectors.base import Connector, ConnectorConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}
"""Activation modules by name; `gelu` is the exact one, not the tanh approximation."""


@final
class MLP(Connector):
    """Maps each patch through linear layers with an activation between them.

    Paper: LLaVA-1.5, arXiv 2310.03744, section 3.3 (depth 2, GELU); Prismatic VLMs,
    arXiv 2402.07865, section 3 (depth 2, GELU; for fused towers depth 3, in its code); Honeybee,
    arXiv 2312.06742, table 8 (SiLU).
    Shape: (images, patches, d_vision) -> (images, patches, d_text).
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Depth, widths and activation of the perceptron."""

        depth: int = 2
        """Linear layers, 1 or more."""
        activation: Literal["gelu", "silu", "relu"] = "gelu"
        """What stands between two linear layers."""
        patch_multiplier: int | None = None
        """Width of the first hidden layer, in widths of a patch (4 in Prismatic's fused form); all
        other hidden layers, and this one when None, are as wide as the tokens."""

        def __post_init__(self) -> None:
            """Checks the depth and the width.

            Raises:
                ValueError: there is no layer, or none that the width is for.
            """
            if self.depth < 1:
                raise ValueError(f"mlp.depth is {self.depth}; expected 1 or more linear layers")
            if self.patch_multiplier is not None and (self.depth < 2 or self.patch_multiplier < 1):
                raise ValueError(
                    f"mlp.patch_multiplier is {self.patch_multiplier} at depth {self.depth}; "
                    "expected 1 or more, and a hidden layer (depth 2 or more)"
                )

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per patch."""
            rows, columns = grid
            return rows * columns

        @property
        def keeps_patches(self) -> bool:
            """Each token is a patch."""
            return True

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the layers; the grid does not matter to them."""
        super().__init__()
        self.config = config
        widths = [d_vision, *[d_text] * config.depth]
        if config.patch_multiplier is not None:
            widths[1] = config.patch_multiplier * d_vision
        layers: list[tuple[str, nn.Module]] = []
        for index, (before, after) in enumerate(pairwise(widths), start=1):
            if index > 1:
                layers.append((f"activation_{index - 1}", ACTIVATIONS[config.activation]()))
            layers.append((f"linear_{index}", nn.Linear(before, after)))
        self.layers = nn.Sequential(OrderedDict(layers))

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Maps each patch to a token."""
        return self.layers(patches.features)


CONNECTOR = MLP
