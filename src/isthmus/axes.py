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
targets    positions that a decoder writes
seq        positions of a sample, text and visual tokens together
rows       positions of a whole batch that take part in something (a loss, a splice)
heads      attention heads
d_head     width of one attention head
d_vision   width of a patch
d_text     width of the language model's input embeddings
d_hidden   width of the language model's last hidden state, or width inside a connector
vocab      entries of the language model's vocabulary
========== ==========================================================================
"""

from dataclasses import dataclass, fields, replace
from typing import Any, final

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

IGNORED_LABEL = -100
"""Label of a position that takes no part in the loss (the convention of torch and transformers)."""


@final
@dataclass(frozen=True, kw_only=True)
class Patches:
    """What a vision tower saw: one vector per patch, and how the patches lie in the image."""

    features: Float[Tensor, "images patches d_vision"]
    """Patch vectors, row by row from the top left, frame after frame. Several towers, or several
    layers of one, stand side by side on the last axis."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    num_frames: int = 1
    """Frames of a clip that count as one image here."""
    mask: Bool[Tensor, "images patches"] | None = None
    """True at patches, false at padding: images of several sizes each fill their grid from the top
    left. None: there is no padding."""
    media_index: Int[Tensor, " images"] | None = None
    """Place of each image among those of its sample, from 0; None where it does not matter."""

    def __post_init__(self) -> None:
        """Checks that the grid covers the patches.

        Raises:
            ValueError: frames times rows times columns is not the number of patches.
        """
        rows, columns = self.grid
        cells = self.num_frames * rows * columns
        if cells != self.features.shape[1]:
            frames = f"{self.num_frames} frames of " if self.num_frames > 1 else ""
            raise ValueError(
                f"{frames}a grid of {rows} x {columns} = {cells} cells cannot hold "
                f"{self.features.shape[1]} patches; drop class and register tokens first"
            )

    def sizes(self) -> list[tuple[int, int]]:
        """Returns the rows and columns that each image fills.

        Raises:
            ValueError: the patches of an image are no rectangle at the top left.
        """
        if self.mask is None:
            return [self.grid] * len(self.features)
        filled = rearrange(self.mask, "i (f r c) -> i f r c", f=self.num_frames, r=self.grid[0])
        rows = filled.any(-1).sum(-1)[:, 0]
        columns = filled.any(-2).sum(-1)[:, 0]
        if not (filled.sum((-2, -1)) == (rows * columns)[:, None]).all():
            raise ValueError(
                "the patches of an image do not fill a rectangle at the top left of the grid; "
                "give images of other sizes apart, or pad them at the right and the bottom"
            )
        return list(zip(rows.tolist(), columns.tolist(), strict=True))


@final
@dataclass(frozen=True, kw_only=True)
class VisualTokens:
    """What a connector hands to the language model."""

    features: Float[Tensor, "images tokens d_text"]
    """Visual tokens in the order in which they are read."""
    mask: Bool[Tensor, "images tokens"] | None = None
    """True at tokens, false at padding behind the tokens of smaller images; None: no padding."""


@final
@dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples made ready for a model: token ids, their labels, and the images of all samples."""

    input_ids: Int[Tensor, "batch seq"]
    """Token ids; one placeholder id per visual token."""
    attention_mask: Int[Tensor, "batch seq"]
    """1 at real positions, 0 at padding."""
    labels: Int[Tensor, "batch targets"] | None = None
    """Token ids where the loss is taken, `IGNORED_LABEL` elsewhere; not shifted. Each stands at its
    place in the text, or is what a decoder is to write."""
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
