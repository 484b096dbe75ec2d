"""The legend of axis names, and the typed structures that travel between the parts.

Every public tensor signature of the package uses these names, and only these:

========== ==========================================================================
images     images of a whole batch, counted over its samples in reading order
clips      the same, where the frames of a clip count as one image
channels   colour channels of an image (red, green, blue)
height     rows of pixels
width      columns of pixels
patches    outputs of the vision tower for one image, row by row from the top left
tokens     visual tokens of one image, what a connector hands to the language model
prefix     class and register tokens that a tower puts before the patches
seen       all that a tower gives of one image, prefix and patches
queries    learned vectors that gather information from the patches
batch      samples
asked      words of what is asked about an image
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
    prefix: Float[Tensor, "images prefix d_vision"] | None = None
    """Class and register tokens of the tower, for connectors that read them."""

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

    def to(self, dtype: torch.dtype) -> "Patches":
        """Returns the patches in another number format."""
        prefix = None if self.prefix is None else self.prefix.to(dtype)
        return replace(self, features=self.features.to(dtype), prefix=prefix)

    def at(self, index: Int[Tensor, " views"]) -> "Patches":
        """Returns the patches of some images, of which one may stand at several places."""
        per_image = ("features", "mask", "media_index", "prefix")
        found = {name: getattr(self, name) for name in per_image}
        return replace(self, **{n: v[index] for n, v in found.items() if v is not None})

    def as_clips(self, num_frames: int) -> "Patches":
        """Returns the patches with so many images, one after the other, as the frames of one.

        Args:
            num_frames: of a clip.

        Raises:
            ValueError: the images do not make whole clips.
        """
        if num_frames == 1:
            return self
        if (num := len(self.features)) % num_frames:
            raise ValueError(
                f"{num} images came, and the model reads clips of {num_frames} frames; show each "
                f"image {num_frames} times (`stills` of a mixture does), and each clip by "
                f"{num_frames} frames"
            )
        features = rearrange(self.features, "(i f) p d -> i (f p) d", f=num_frames)
        return Patches(features=features, grid=self.grid, num_frames=num_frames)

    @property
    def states(self) -> Float[Tensor, "images seen d_vision"]:
        """Class and register tokens, where they are kept, and the patches behind them."""
        if self.prefix is None:
            return self.features
        return torch.cat([self.prefix, self.features], dim=1)

    @property
    def state_mask(self) -> Bool[Tensor, "images seen"] | None:
        """The mask of `states`; None: there is no padding."""
        if self.mask is None or self.prefix is None:
            return self.mask
        return torch.cat([self.mask.new_ones(self.prefix.shape[:2]), self.mask], dim=1)

    @classmethod
    def of_states(
        cls, states: Float[Tensor, "images seen d_vision"], grid: tuple[int, int]
    ) -> "Patches":
        """Returns the patches, and what stands before them, of what `states` gave."""
        cells = grid[0] * grid[1]
        prefix = states[:, :-cells] if states.shape[1] > cells else None
        return cls(features=states[:, -cells:], grid=grid, prefix=prefix)

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
class Instruction:
    """What is asked about each image, in the vocabulary of the connector that reads it."""

    input_ids: Int[Tensor, "images asked"]
    """Token ids."""
    attention_mask: Int[Tensor, "images asked"]
    """1 at words, 0 at padding."""


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
    view_index: Int[Tensor, " views"] | None = None
    """Which of `pixel_values` is shown at each place in reading order, where one is shown at
    several, such as a clip that stands still; None where each has one place."""
    patch_features: Float[Tensor, "images seen d_vision"] | None = None
    """Outputs of the vision tower kept from an earlier pass; they replace `pixel_values`."""
    qformer_input_ids: Int[Tensor, "images asked"] | None = None
    """What is asked about each image, for a connector that reads it, in its own vocabulary."""
    qformer_attention_mask: Int[Tensor, "images asked"] | None = None
    """1 at words, 0 at padding."""
    segments: Int[Tensor, "batch seq"] | None = None
    """Which of the samples in its row each position belongs to, where a row holds several; none of
    them sees another."""
    decoded: bool = False
    """Whether a decoder writes the labels; else they stand in the text, and the position before
    each tells it."""
    image_ids: Int[Tensor, " batch"] | None = None
    """Equal for pairs of an image and a text that show the same image."""
    text_ids: Int[Tensor, " batch"] | None = None
    """Equal for pairs that say the same."""
    ids: tuple[str, ...] = ()
    """Names of the samples."""
    shared: dict[str, Any] | None = None
    """What objectives computed of the batch for one another, by name; None where each computes all
    for itself."""
    stand_in: bool = False
    """Whether the batch counts for nothing; a process without a sample of its own computes it, for
    the others wait."""

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
        optional = (
            *("pixel_values", "view_index", "patch_features", "segments"),
            *("qformer_input_ids", "qformer_attention_mask"),
        )
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            **{n: getattr(self, n) for n in optional if getattr(self, n) is not None},
        }

    @property
    def num_supervised(self) -> int:
        """Tokens in the loss; the first of a text is told by none, the first of a decoder is."""
        if self.labels is None:
            return 0
        told = self.labels if self.decoded else self.labels[:, 1:]
        return int((told != IGNORED_LABEL).sum())

    @property
    def num_samples(self) -> int:
        """Samples, of which a row may hold several."""
        return len(self.ids) or len(self.input_ids)

    @property
    def num_positions(self) -> int:
        """Real positions, of text and visual tokens, and of what a decoder writes."""
        written = self.num_supervised if self.decoded else 0
        return int(self.attention_mask.sum()) + written
