"""ITC: an image and its text are more alike than either is to any other of the batch."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import log_softmax

from isthmus.config import Config
from isthmus.modeling.modeling_alignment import similarity
from isthmus.objectives._processes import gathered
from isthmus.objectives.base import check_smoothing


@final
@dataclass(frozen=True, kw_only=True)
class Contrastive(Config):
    """Settings of the contrast."""

    weight: float = 1.0
    """Factor in the sum that is trained."""
    label_smoothing: float = 0.1
    """Share of the target spread evenly over the batch."""
    gradient: bool = False
    """Whether what an image or text is compared with learns, too. The published code gathers the
    other side without gradients, so that only the side that asks learns from a comparison."""

    def __post_init__(self) -> None:
        """Checks the numbers; see `check_smoothing`."""
        check_smoothing("contrastive", self.label_smoothing)


@final
@dataclass(frozen=True, kw_only=True)
class Similarities:
    """How alike images and texts of this process are to those of all processes."""

    image_to_text: Float[Tensor, "batch everyone"]
    """Each image of this process with each text, over the temperature."""
    text_to_image: Float[Tensor, "batch everyone"]
    """Each text of this process with each image, over the temperature."""

    def among(self, columns: Bool[Tensor, " everyone"]) -> "Similarities":
        """Returns those to some of the images and texts."""
        return Similarities(
            image_to_text=self.image_to_text[:, columns],
            text_to_image=self.text_to_image[:, columns],
        )


def compare(
    images: Float[Tensor, "batch queries d_embedding"],
    words: Float[Tensor, "batch d_embedding"],
    temperature: Float[Tensor, ""],
    sizes: Sequence[int],
    *,
    gradient: bool,
) -> Similarities:
    """Returns the similarities within the batch of all processes.

    Args:
        images: unit vectors of the queries.
        words: unit vectors of the texts.
        temperature: by which they are divided.
        sizes: pairs that each process holds.
        gradient: whether what is compared with gets one.
    """
    # Over the temperature, the eight bits of bfloat16 would tell similarities of 0.004 apart.
    with _without_autocast(images.device.type):
        images, words, temperature = images.float(), words.float(), temperature.float()
        texts = similarity(images, gathered(words, sizes, gradient=gradient))
        pictures = similarity(gathered(images, sizes, gradient=gradient), words).T
        return Similarities(image_to_text=texts / temperature, text_to_image=pictures / temperature)


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    # The meta device, on which costs are planned, has no autocast.
    has_it = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if has_it else nullcontext()


def contrastive_loss(
    similarities: Similarities, same: Bool[Tensor, "batch everyone"], *, label_smoothing: float
) -> Float[Tensor, ""]:
    """Returns the mean cross-entropy of both directions, in nats.

    Where several pairs of the batch are true, because an image has several captions, each is a
    target in equal parts.

    Paper: BLIP-2, arXiv 2301.12597, section 3.1; targets by image as in its code.

    Args:
        similarities: over the temperature.
        same: which pairs are true.
        label_smoothing: share of the target spread evenly.
    """
    targets = same.float() / same.sum(dim=1, keepdim=True)
    targets = (1 - label_smoothing) * targets + label_smoothing / same.shape[1]

    def entropy(logits: Tensor) -> Tensor:
        return -(log_softmax(logits.float(), dim=1) * targets).sum(dim=1).mean()

    both = entropy(similarities.image_to_text) + entropy(similarities.text_to_image)
    return both / 2


def accuracy(similarities: Similarities, same: Bool[Tensor, "batch everyone"]) -> Float[Tensor, ""]:
    """Returns the share of images and texts whose nearest in the batch is a true one."""

    def share(logits: Tensor) -> Tensor:
        return same.gather(1, logits.argmax(dim=1, keepdim=True)).float().mean()

    with torch.no_grad():
        found = share(similarities.image_to_text) + share(similarities.text_to_image)
        return found / 2
