"""Linear connector: one affine map per patch, every patch becomes a token."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from isthmus.axes import Patches
from isthmus.connectors.base import Connector, ConnectorConfig


@final
class Linear(Connector):
    """Maps each patch to the width of the language model.

    Paper: LLaVA, arXiv 2304.08485, section 4.1; the linear projector of Prismatic VLMs,
    arXiv 2402.07865, and of Honeybee, arXiv 2312.06742, table 2.
    Shape: (images, patches, d_vision) -> (images, patches, d_text).
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """A linear connector has nothing to choose."""

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
        """Builds the map; the grid does not matter to it."""
        super().__init__()
        self.config = config
        self.projection = nn.Linear(d_vision, d_text)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Maps each patch to a token."""
        return self.projection(patches.features)


CONNECTOR = Linear
