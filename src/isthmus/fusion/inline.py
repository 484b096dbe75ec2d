"""Inline fusion: visual tokens take the places of placeholders in the embedded text.

This is the only place that does it. Images are counted over the batch in reading order, sample by
sample, so a sample may have none, one or several, anywhere in its text.
"""

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.import_utils import torch_compilable_check

from isthmus.fusion._layout import check_layout, laid_out, steps_of
from isthmus.fusion.base import Fusion, FusionConfig, Prompt

# TRL looks for these words to explain a truncated conversation; keep them.
MISMATCH = "Image features and image tokens do not match"


@dataclass(frozen=True, kw_only=True)
class InTextConfig(FusionConfig):
    """How visual tokens stand in the text."""

    positions: Literal["sequential", "shared"] = "sequential"
    """Positions of visual tokens: counted like words, or all patches of an image at one (CogVLM).
    """
    image_attention: Literal["causal", "full"] = "causal"
    """Which tokens of its own image a visual token sees: those before it, or all of them."""

    def shared(self, boundaries: tuple[int, int]) -> tuple[int, int] | None:
        """Returns the boundaries around the patches that share a position, None if none do."""
        return boundaries if self.positions == "shared" else None


@final
class Inline(Fusion):
    """Puts visual tokens in the places of placeholders, and changes nothing else.

    Paper: LLaVA, arXiv 2304.08485, section 4.1. With full attention within an image: the prefix of
        PaliGemma, arXiv 2407.07726, section 3.1 (there the question is part of it).
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(InTextConfig):
        """Positions and attention of the visual tokens."""

    def __init__(
        self, config: Config, language_model: PreTrainedModel, *, boundaries: tuple[int, int]
    ) -> None:
        """Remembers how the tokens of an image are laid out."""
        super().__init__()
        check_layout(
            language_model, positions=config.positions, image_attention=config.image_attention
        )
        self.config, self.boundaries = config, boundaries
        self.language = language_model.config

    def forward(self, prompt: Prompt) -> tuple[Tensor, dict[str, Any]]:
        """Puts the visual tokens in their places."""
        return in_text(prompt, self.language, self.config, self.boundaries)

    def steps(
        self, placeholders: Bool[Tensor, "batch seq"], num_tokens: int
    ) -> Int[Tensor, "batch seq"]:
        """Returns how far each position is from the one before; see `Fusion.steps`."""
        return steps_of(placeholders, num_tokens, self.config.shared(self.boundaries))


def in_text(
    prompt: Prompt, language: PreTrainedConfig, config: InTextConfig, boundaries: tuple[int, int]
) -> tuple[Tensor, dict[str, Any]]:
    """Returns the text with visual tokens in their places, their positions and their attention."""
    embeds = splice(prompt.embeds, prompt.placeholders, prompt.visual)
    shared, full = config.shared(boundaries), config.image_attention == "full"
    return embeds, laid_out(prompt, language, shared=shared, full=full)


def splice(
    embeds: Float[Tensor, "batch seq d_text"],
    placeholders: Bool[Tensor, "batch seq"],
    visual: Float[Tensor, "images tokens d_text"],
) -> Float[Tensor, "batch seq d_text"]:
    """Returns the embedded text with the visual tokens in the places of the placeholders.

    Args:
        embeds: embedded text, with anything at the placeholders.
        placeholders: true where a visual token belongs.
        visual: visual tokens of all images of the batch in reading order.

    Raises:
        ValueError: there are more or fewer placeholders than visual tokens.
    """
    num_places = placeholders.sum()
    num_tokens = visual.shape[0] * visual.shape[1]
    torch_compilable_check(
        num_places == num_tokens,
        lambda: (
            f"{MISMATCH}, tokens: {int(num_places)}, features: {num_tokens} "
            f"({visual.shape[0]} images of {visual.shape[1]}); give one image per image "
            "placeholder, and do not truncate the text inside one"
        ),
    )
    # A cast that is needed under autocast, and nothing otherwise.
    return embeds.masked_scatter(placeholders[..., None], visual.to(embeds))


def embeddable(
    input_ids: Int[Tensor, "batch seq"], placeholders: Bool[Tensor, "batch seq"]
) -> Int[Tensor, "batch seq"]:
    """Returns ids that the embedding table has a row for; the placeholder may lie beyond it."""
    return torch.where(placeholders, torch.zeros_like(input_ids), input_ids)


FUSION = Inline
