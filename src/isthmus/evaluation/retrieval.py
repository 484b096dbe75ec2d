"""Images found by texts, and texts by images: nearest first, the best of them matched again.

An image is projected for the Q-Former once, and read with every text that it is matched with,
whichever of the two asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import track
from torch import Tensor

from isthmus.evaluation.mode import measured
from isthmus.evaluation.settings import check_counts, chunks
from isthmus.evaluation.sights import Sights
from isthmus.modeling import alignment
from isthmus.modeling.alignment import Texts
from isthmus.modeling.modeling_alignment import IsthmusForAlignment, similarity
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor

Matcher = Callable[[Tensor], Tensor]
"""Pairs of the number of an image and that of a text, to logits: [no match, match]."""


@final
@dataclass(frozen=True, kw_only=True)
class Features:
    """Images and texts as unit vectors to be compared."""

    images: Float[Tensor, "images queries d_embedding"]
    """A vector per query: an image is as near to a text as the nearest of them."""
    texts: Float[Tensor, "batch d_embedding"]

    def similarities(self) -> Float[Tensor, "images batch"]:
        """Returns the cosine of every image with every text."""
        return torch.cat([similarity(each, self.texts) for each in self.images.split(64)])


def extract_features(
    model: IsthmusForAlignment,
    processor: IsthmusAlignmentProcessor,
    *,
    images: Sequence[Path],
    texts: Sequence[str],
    batch_size: int = 32,
    sights: Sights | None = None,
    console: Console | None = None,
) -> Features:
    """Returns images and texts as vectors.

    Args:
        model: that compares.
        processor: of the model.
        images: files.
        texts: to be compared with them.
        batch_size: images or texts at once.
        sights: looks at the images, and may keep what it sees for another pass.
        console: where a bar shows how far it is.

    Raises:
        ValueError: the batch size is below one.
        Fault: a file is no image that can be read.
    """
    look = sights or Sights(model, processor)
    seen: list[Tensor] = []
    with measured(model):
        for paths in track(
            chunks(images, batch_size),
            description="looking at images",
            console=console,
            transient=True,
            disable=console is None,
        ):
            states, _ = model.queries(look(paths))
            seen.append(model.image_embeds(states))
        words = [
            model.text_embeds(alignment.texts(model.qformer, _texts(model, processor, lines)))
            for lines in chunks(texts, batch_size)
        ]
        return Features(images=torch.cat(seen), texts=torch.cat(words))


def match_pairs(
    model: IsthmusForAlignment,
    processor: IsthmusAlignmentProcessor,
    *,
    images: Sequence[Path],
    texts: Sequence[str],
    pairs: Int[Tensor, "pairs 2"],
    batch_size: int = 32,
    sights: Sights | None = None,
    console: Console | None = None,
) -> Float[Tensor, "pairs 2"]:
    """Returns the logits of pairs: [no match, match].

    Args:
        model: that matches.
        processor: of the model.
        images: files.
        texts: that they may belong to.
        pairs: number of an image, number of a text.
        batch_size: texts that an image is read with at once.
        sights: looks at the images, and may have seen them before.
        console: where a bar shows how far it is.

    Raises:
        ValueError: the batch size is below one.
        Fault: a file is no image that can be read.
    """
    look = sights or Sights(model, processor)
    check_counts(1, batch_size=batch_size)
    found = torch.zeros(len(pairs), 2)
    by_image = pairs[:, 0].argsort(stable=True)
    groups = by_image.split(torch.bincount(pairs[:, 0], minlength=len(images)).tolist())
    asked = [(path, group) for path, group in zip(images, groups, strict=True) if len(group)]
    with measured(model):
        for path, group in track(
            asked,
            description="matching",
            console=console,
            transient=True,
            disable=console is None,
        ):
            seen = look([path])
            for part in group.split(batch_size):
                lines = [texts[number] for number in pairs[part, 1].tolist()]
                given = _texts(model, processor, lines)
                found[part] = model.match(seen.repeated(len(lines)), given).float().cpu()
    return found


def rerank(
    similarities: Float[Tensor, "images batch"],
    match: Matcher,
    *,
    top: int,
) -> tuple[Float[Tensor, "images batch"], Float[Tensor, "images batch"]]:
    """Returns the scores of both directions after the nearest candidates were matched.

    A candidate's score is its logit for a match plus its similarity, as the published code has it;
    who is no candidate comes after all that are, in the order of similarity.

    Args:
        similarities: of every image with every text.
        match: gives the logits of pairs.
        top: nearest candidates of each image and of each text.

    Returns:
        Scores by which an image finds texts, and those by which a text finds images.
    """
    num_images, num_texts = similarities.shape
    of_images = similarities.topk(min(top, num_texts), dim=1).indices
    of_texts = similarities.T.topk(min(top, num_images), dim=1).indices
    is_asked = torch.zeros_like(similarities, dtype=torch.bool).scatter_(1, of_images, True)
    is_asking = torch.zeros_like(similarities.T, dtype=torch.bool).scatter_(1, of_texts, True).T
    pairs = (is_asked | is_asking).nonzero()
    matched = torch.zeros_like(similarities)
    matched[pairs[:, 0], pairs[:, 1]] = match(pairs.cpu())[:, 1].to(similarities.device)
    last = similarities - 2 - matched.abs().max() - 1
    scores = similarities + matched
    return torch.where(is_asked, scores, last), torch.where(is_asking, scores, last)


def _texts(
    model: IsthmusForAlignment, processor: IsthmusAlignmentProcessor, lines: Sequence[str]
) -> Texts:
    return Texts(**{n: value.to(model.device) for n, value in processor.texts(lines).items()})
