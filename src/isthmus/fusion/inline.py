"""Inline fusion: visual tokens take the places of placeholders in the embedded text.

This is the only place that does it. Images are counted over the batch in reading order, sample by
sample, so a sample may have none, one or several, anywhere in its text.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.utils.import_utils import torch_compilable_check

# TRL looks for these words to explain a truncated conversation; keep them.
MISMATCH = "Image features and image tokens do not match"


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
