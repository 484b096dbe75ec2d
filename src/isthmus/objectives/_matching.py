"""ITM: whether an image and a text belong together, asked of true pairs and of hard false ones."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from isthmus.config import Config

NEVER = -10_000.0
"""Logit of a pair that is no negative."""


@final
@dataclass(frozen=True, kw_only=True)
class Matching(Config):
    """Settings of the matching."""

    weight: float = 1.0
    """Factor in the sum that is trained."""
    negatives: Literal["local", "all"] = "local"
    """Where false pairs are drawn from: the batch of this process, or those of all."""


@final
@dataclass(frozen=True, kw_only=True)
class Negatives:
    """A false image for each text, and a false text for each image, by number in the batch."""

    images: Int[Tensor, " batch"]
    texts: Int[Tensor, " batch"]
    exist: Bool[Tensor, " batch"]
    """False where all pairs with one of the batch are true."""


def draw_negatives(
    image_to_text: Float[Tensor, "batch everyone"],
    text_to_image: Float[Tensor, "batch everyone"],
    same: Bool[Tensor, "batch everyone"],
    *,
    chance: bool,
) -> Negatives:
    """Draws negatives in proportion to how much the model takes them for true.

    Paper: BLIP-2, arXiv 2301.12597, section 3.1, as its code does.
    Differs: the published code draws the pair itself where there is no other; here such a pair has
        no negative, and takes no part in the loss with one.

    Args:
        image_to_text: similarities over the temperature.
        text_to_image: the same of each text.
        same: which pairs are true.
        chance: whether they are drawn; else the hardest are taken.
    """
    texts, images = (negative_weights(logits, same) for logits in (image_to_text, text_to_image))
    return Negatives(
        images=_drawn(images, chance=chance),
        texts=_drawn(texts, chance=chance),
        exist=~same.all(dim=1),
    )


def negative_weights(
    logits: Float[Tensor, "batch everyone"], same: Bool[Tensor, "batch everyone"]
) -> Float[Tensor, "batch everyone"]:
    """Returns with which probability each is drawn as a negative."""
    return logits.detach().float().masked_fill(same, NEVER).softmax(dim=1)


def matching_loss(
    logits: Float[Tensor, "pairs 2"], negatives: Negatives
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns the mean cross-entropy in nats, and the share of pairs that were told right.

    Args:
        logits: of the true pairs, then of each text with a false image, then of each image with a
            false text.
        negatives: the false ones.
    """
    size = len(negatives.images)
    truth = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    truth[:size] = 1
    exist = negatives.exist.float()
    counts = torch.cat([torch.ones_like(exist), exist, exist])
    losses = cross_entropy(logits.float(), truth, reduction="none")
    right = (logits.argmax(dim=1) == truth).float()
    return (losses * counts).sum() / counts.sum(), (right * counts).sum() / counts.sum()


def _drawn(weights: Tensor, *, chance: bool) -> Tensor:
    return weights.multinomial(1).squeeze(1) if chance else weights.argmax(dim=1)
