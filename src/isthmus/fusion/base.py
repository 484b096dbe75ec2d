"""The contract of a fusion: where and how the language model meets the visual tokens.

A fusion is one file of this folder: a docstring that says the figure in words, a class nested as
`Config`, the final class, and `FUSION = ThatClass`. It is built around a language model, and may
put modules of its own into its layers; the language model's weights keep their names and values.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from isthmus import kinds
from isthmus.config import KindConfig


@final
@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Text with the places of its images: what a fusion goes by."""

    embeds: Float[Tensor, "batch seq d_text"]
    """Embedded text, with anything at the placeholders."""
    placeholders: Bool[Tensor, "batch seq"]
    """True where an image, or one of its visual tokens, belongs."""
    visual: Float[Tensor, "images tokens _"]
    """Visual tokens of all images of the batch in reading order; of no image in text alone. Their
    width is what the fusion asks for, see `FusionConfig.d_tokens`."""
    attention_mask: Any = None
    """1 at real positions; or a mask that `generate` made."""
    position_ids: Int[Tensor, "batch seq"] | None = None
    """Positions, where they are given."""
    segments: Int[Tensor, "batch seq"] | None = None
    """Which of the samples packed into one row each position belongs to, where there are several;
    positions of a sample have the same number."""
    kv_length: int | None = None
    """Positions that a cache holds room for, where there is one."""
    kernel: str = "sdpa"
    """The language model's attention kernel, by transformers' name."""

    def real(self) -> Int[Tensor, "batch seq"] | None:
        """Returns 1 at real positions and 0 at padding, None where that is not known as such."""
        mask = self.attention_mask
        return mask if isinstance(mask, Tensor) and mask.ndim == 2 else None


class Fusion(nn.Module, ABC):
    """Joins visual tokens to a language model."""

    @abstractmethod
    def forward(self, prompt: Prompt) -> tuple[Tensor, dict[str, Any]]:
        """Returns what the language model reads instead of the text, and what its layers are told.

        The second part is passed to the language model's forward as keyword arguments.
        """

    def steps(
        self, placeholders: Bool[Tensor, "batch seq"], num_tokens: int
    ) -> Int[Tensor, "batch seq"]:
        """Returns how far each position of a text is from the one before.

        Args:
            placeholders: where visual tokens belong.
            num_tokens: visual tokens of an image.
        """
        return torch.ones_like(placeholders, dtype=torch.long)

    def remember(self, cache: Cache, told: dict[str, Any]) -> None:
        """Keeps with a cache what words that follow the prompt will have to be told."""

    def recall(self, cache: Cache | None, length: int) -> dict[str, Any]:
        """Returns what words that follow a prompt are told.

        Args:
            cache: of the prompt.
            length: how many words there are.
        """
        return {}

    def check(self, told: dict[str, Any]) -> None:
        """Checks after a forward pass that the language model's layers heard what they were told.

        Raises:
            ValueError: they did not.
        """

    def parts(self) -> list[nn.Module]:
        """Returns the modules that this fusion brought, wherever they were put."""
        return [self]


@dataclass(frozen=True, kw_only=True)
class FusionConfig(KindConfig, ABC, package="isthmus.fusion", constant="FUSION"):
    """Base of the fusions' configurations; `kind` is the name of the fusion's file."""

    @property
    def sees_every_view(self) -> bool:
        """Whether a word sees each of several images that belong together, such as tiles."""
        return True

    def num_placeholders(self, num_tokens: int) -> int:
        """Returns the positions of the text that an image of so many visual tokens takes."""
        return num_tokens

    def d_tokens(self, d_text: int) -> int:
        """Returns the width that visual tokens have to have for a language model of width."""
        return d_text

    def build(self, language_model: PreTrainedModel, *, boundaries: tuple[int, int]) -> Fusion:
        """Returns the fusion, built around a language model.

        Args:
            language_model: body whose layers may be given modules.
            boundaries: visual tokens of an image that stand before and after those of its patches.

        Raises:
            ValueError: the language model's family cannot be fused this way.
        """
        module = kinds.load(self._package, self.kind)
        return getattr(module, self._constant)(self, language_model, boundaries=boundaries)
