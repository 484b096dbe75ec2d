"""The contract of a connector: patches in, visual tokens out, their number known beforehand.

A connector is one file of this folder: a docstring that says the figure in words, a class nested
as `Config`, the final class, and `CONNECTOR = ThatClass`. It knows nothing but the patches, their
grid and two widths.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from isthmus import kinds
from isthmus.axes import Patches
from isthmus.config import KindConfig


class Connector(nn.Module, ABC):
    """Turns the patches of an image into the visual tokens that the language model reads."""

    @abstractmethod
    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Returns the visual tokens of each image, in the order in which the model reads them."""

    def reset_parameters(self) -> None:
        """Draws fresh weights.

        Submodules draw theirs first; a connector that holds parameters of its own overrides
        this, calls `super().reset_parameters()`, and draws them with functions of
        `torch.nn.init`, which loading a checkpoint can hold back.
        """
        for module in self.children():
            for part in module.modules():
                if callable(draw := getattr(part, "reset_parameters", None)):
                    draw()


@dataclass(frozen=True, kw_only=True)
class ConnectorConfig(KindConfig, ABC, package="isthmus.connectors", constant="CONNECTOR"):
    """Base of the connectors' configurations; `kind` is the name of the connector's file."""

    @abstractmethod
    def num_tokens(self, grid: tuple[int, int]) -> int:
        """Returns the visual tokens of an image whose patches lie on `grid`.

        Args:
            grid: rows and columns of patches.
        """

    def build(self, *, d_vision: int, d_text: int, grid: tuple[int, int]) -> Connector:
        """Returns a freshly initialised connector.

        Args:
            d_vision: width of a patch.
            d_text: width of the language model's input embeddings.
            grid: rows and columns of patches that the images will have.
        """
        module = kinds.load(self._package, self.kind)
        return getattr(module, self._constant)(self, d_vision=d_vision, d_text=d_text, grid=grid)
