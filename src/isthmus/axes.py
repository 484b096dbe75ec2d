"""The legend of axis names, and the typed structures that travel between the parts.

Every public tensor signature of the package uses these names, and only these:

========== ==========================================================================
images     images of a whole batch, counted over its samples in reading order
channels   colour channels of an image (red, green, blue)
height     rows of pixels
width      columns of pixels
patches    outputs of the vision tower for one image, row by row from the top left
tokens     visual tokens of one image, what a connector hands to the language model
queries    learned vectors that gather information from the patches
batch      samples
seq        positions of a sample, text and visual tokens together
rows       positions of a whole batch that take part in something (a loss, a splice)
heads      attention heads
d_head     width of one attention head
d_vision   width of a patch
d_text     width of the language model's input embeddings
d_hidden   width of the language model's last hidden state
vocab      entries of the language model's vocabulary
========== ==========================================================================
"""

from dataclasses import dataclass, fields, replace
from typing import Any, final

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

IGNORED_LABEL = -100
"""Label of a position that takes no part in the loss (the convention of torch and transformers)."""


@final
@dataclass(frozen=True, kw_only=True)
class Patches:
    """What a vision tower saw: one vector per patch, and how the patches lie in the image."""

    features: Float[Tensor, "images patches d_vision"]
    """Patch vectors, row by row from the top left."""
    grid: tuple[int, int]
    """Rows and columns of patches."""

    def __post_init__(self) -> None:
        """Checks that the grid covers the patches.

        Raises:
            ValueError: rows times columns is not the number of patches.
        """
        rows, columns = self.grid
        if rows * columns != self.features.shape[1]:
            raise ValueError(
                f"a grid of {rows} x {columns} = {rows * columns} cells cannot hold "
                f"{self.features.shape[1]} patches; drop class and register tokens first"
            )


@final
@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples made ready for a model: token ids, their labels, and the images of all samples."""

    input_ids: Int[Tensor, "batch seq"]
    """Token ids; one placeholder id per visual token."""
    attention_mask: Int[Tensor, "batch seq"]
    """1 at real positions, 0 at padding."""
    labels: Int[Tensor, "batch seq"] | None = None
    """Token ids where the loss is taken, `IGNORED_LABEL` elsewhere; not shifted."""
    pixel_values: UInt8[Tensor, "images 3 height width"] | None = None
    """Images of all samples in reading order, not normalised."""
    patch_features: Float[Tensor, "images patches d_vision"] | None = None
    """Outputs of the vision tower kept from an earlier pass; they replace `pixel_values`."""
    ids: tuple[str, ...] = ()
    """Names of the samples."""

    def __post_init__(self) -> None:
        """Checks that the images are given in one form only.

        Raises:
            ValueError: both pixels and patch features are given.
        """
        if self.pixel_values is not None and self.patch_features is not None:
            raise ValueError("a batch holds pixel_values or patch_features, not both; drop one")

    def to(self, device: torch.device | str) -> "Batch":
        """Returns the batch with every tensor on `device`."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def model_inputs(self) -> dict[str, Any]:
        """Returns the keyword arguments of a model's forward, without the labels."""
        images = {"pixel_values": self.pixel_values, "patch_features": self.patch_features}
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            **{name: value for name, value in images.items() if value is not None},
        }

    @property
    def num_supervised(self) -> int:
        """Positions whose next token is in the loss; a first token has no predecessor."""
        if self.labels is None:
            return 0
        return int((self.labels[:, 1:] != IGNORED_LABEL).sum())
