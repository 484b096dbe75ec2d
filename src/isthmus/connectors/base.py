"""The contract of a connector: patches in, visual tokens out, their number known beforehand.

A connector is one file of this folder: a docstring that says the figure in words, a class nested
as `Config`, the final class, and `CONNECTOR = ThatClass`. It knows nothing but the patches, their
grid and two widths.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from isthmus import kinds
from isthmus.axes import Patches, VisualTokens
from isthmus.config import KindConfig
from isthmus.connectors._qformer_text import TextSide


class Connector(nn.Module, ABC):
    """Turns the patches of an image into the visual tokens that the language model reads."""

    reads_masks: ClassVar[bool] = False
    """Whether `forward` minds the mask of padded patches itself, as attention can."""
    config: "ConnectorConfig"

    @abstractmethod
    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Returns the visual tokens of each image, in the order in which the model reads them."""

    def read(self, patches: Patches) -> VisualTokens:
        """Returns the visual tokens of images that may be of several sizes.

        What a convolution or a pooling makes of padding is not what it makes of an edge, so images
        of one size go through together, without padding.
        """
        if patches.mask is None or self.reads_masks:
            return VisualTokens(features=self(patches))
        sizes = patches.sizes()
        if not sizes:
            return VisualTokens(features=self(patches))
        same = {size: [n for n, other in enumerate(sizes) if other == size] for size in sizes}
        parts = {size: self(_cut_out(patches, chosen, size)) for size, chosen in same.items()}
        # Asked of the tokens, since a clip may have more of them than an image.
        counts = [parts[size].shape[1] for size in sizes]
        one = parts[sizes[0]]
        tokens = one.new_zeros(len(sizes), max(counts), one.shape[-1])
        for size, part in parts.items():
            where = torch.tensor(same[size], device=part.device)
            padded = nn.functional.pad(part, (0, 0, 0, tokens.shape[1] - part.shape[1]))
            tokens = tokens.index_copy(0, where, padded)
        numbers = torch.arange(tokens.shape[1], device=tokens.device)
        mask = numbers < torch.tensor(counts, device=tokens.device)[:, None]
        return VisualTokens(features=tokens, mask=mask)

    def start_from(self, folder: str) -> None:
        """Takes over what a pretrained model has for this connector, in place.

        Args:
            folder: local folder or hub id of the pretrained model.

        Raises:
            ValueError: this connector starts from none, or the model does not fit.
        """
        raise ValueError(
            f"the connector {self.config.kind!r} starts from no pretrained model, so {folder!r} "
            "would be ignored; leave out connector_start"
        )

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


def _cut_out(patches: Patches, images: Sequence[int], size: tuple[int, int]) -> Patches:
    """Returns some images without their padding."""
    rows, columns = size
    cells = rearrange(
        patches.features[list(images)],
        "i (f r c) d -> i f r c d",
        f=patches.num_frames,
        r=patches.grid[0],
    )
    order = patches.media_index
    return Patches(
        features=rearrange(cells[:, :, :rows, :columns], "i f r c d -> i (f r c) d"),
        grid=size,
        num_frames=patches.num_frames,
        media_index=None if order is None else order[list(images)],
    )


@dataclass(frozen=True, kw_only=True)
class ConnectorConfig(KindConfig, ABC, package="isthmus.connectors", constant="CONNECTOR"):
    """Base of the connectors' configurations; `kind` is the name of the connector's file."""

    @abstractmethod
    def num_tokens(self, grid: tuple[int, int]) -> int:
        """Returns the visual tokens of an image whose patches lie on `grid`.

        Args:
            grid: rows and columns of patches.
        """

    @property
    def reads_prefix(self) -> bool:
        """Whether class and register tokens are read, too, where `Patches` hold them."""
        return False

    @property
    def instruction_side(self) -> TextSide | None:
        """The side that reads an instruction beside the patches; None where there is none."""
        return None

    def shaped(self, start: str) -> "ConnectorConfig":
        """Returns the configuration with the architecture of a pretrained model alone.

        Unlike `fitted`, it reads no weights: what follows from them stays as it was.

        Args:
            start: local folder or hub id of the model that the connector is to start from.

        Raises:
            ValueError: it cannot start from such a model.
        """
        return self

    def fitted(self, start: str, *, language: str) -> "ConnectorConfig":
        """Returns the configuration with all that a pretrained model decides of it.

        Args:
            start: local folder or hub id of the model that the connector is to start from.
            language: local folder or hub id of the language model that reads its tokens.

        Raises:
            ValueError: it cannot start from such a model.
        """
        return self

    @property
    def boundaries(self) -> tuple[int, int]:
        """Visual tokens of an image that stand before those of its patches, and after them."""
        return (0, 0)

    @property
    def keeps_patches(self) -> bool:
        """Whether the visual tokens between the boundaries are the patches, one for each."""
        return False

    def build(self, *, d_vision: int, d_text: int, grid: tuple[int, int]) -> Connector:
        """Returns a freshly initialised connector.

        Args:
            d_vision: width of a patch.
            d_text: width of the language model's input embeddings.
            grid: rows and columns of patches that the images will have.
        """
        module = kinds.load(self._package, self.kind)
        return getattr(module, self._constant)(self, d_vision=d_vision, d_text=d_text, grid=grid)
