"""How often a Q-Former runs over a batch of pairs: packed, or one pass for each objective.

Both ways compute the same. The plain one is what the published code does, and the reference; it
projects the patches anew in each pass. The packed one projects them once for all passes, and lets
one sequence carry the queries, the text that is compared and the text that is written; words that
nobody reads leave before the last layer.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isthmus.axes import Patches
from isthmus.modeling import alignment
from isthmus.modeling.alignment import SeenImages, Texts
from isthmus.modeling.modeling_alignment import IsthmusForAlignment


@final
@dataclass(frozen=True, kw_only=True)
class Compared:
    """What the first pass (or the first three) found."""

    queries: Float[Tensor, "batch queries d_hidden"]
    """Of each image, which saw no text."""
    texts: Float[Tensor, "batch seq d_hidden"]
    """Words that saw no image."""
    captions: Float[Tensor, "batch seq d_hidden"] | None
    """Words that saw the queries and the words before them; None where nothing is written."""


@final
@dataclass(frozen=True, kw_only=True)
class FalseImages:
    """An image for each text that it does not tell of."""

    numbers: Int[Tensor, " batch"] | None = None
    """Among the images of the batch."""
    patches: Patches | None = None
    """Or as the tower of another process saw them."""


class Passes(ABC):
    """A way of running over a batch."""

    def __init__(self, model: IsthmusForAlignment, patches: Patches, texts: Texts) -> None:
        """Holds the batch.

        Args:
            model: with its Q-Former.
            patches: what the tower saw of the image of each pair.
            texts: of each pair.
        """
        self.model, self.patches, self.texts = model, patches, texts

    @abstractmethod
    def compare(self, written: Texts | None) -> Compared:
        """Returns the images and texts apart, and captions if they are to be written.

        Args:
            written: the texts, begun by the mark of captions.
        """

    @abstractmethod
    def match(self, false_images: FalseImages, false_texts: Texts) -> Float[Tensor, "pairs 2"]:
        """Returns the logits of the true pairs, of the false images, and of the false texts."""


@final
class Plain(Passes):
    """One pass for each objective, as in the published code."""

    def compare(self, written: Texts | None) -> Compared:
        """Runs over images, over texts, and over captions."""
        qformer = self.model.qformer
        queries, past = self.model.queries(self.model.see(self.patches))
        return Compared(
            queries=queries,
            texts=alignment.texts(qformer, self.texts),
            captions=None if written is None else alignment.captions(qformer, past, written),
        )

    def match(self, false_images: FalseImages, false_texts: Texts) -> Float[Tensor, "pairs 2"]:
        """Runs over all pairs, whose patches are projected anew."""
        own, other = self.patches, false_images.patches
        if other is None:
            assert false_images.numbers is not None
            other = own.at(false_images.numbers)
        shown = (own, other, own)
        masks = [each.mask for each in shown if each.mask is not None]
        patches = Patches.of_states(torch.cat([each.states for each in shown]), own.grid)
        states = alignment.pairs(
            self.model.qformer,
            self.model.see(replace(patches, mask=torch.cat(masks) if masks else None)),
            Texts.joined([self.texts, self.texts, false_texts]),
            whole=True,
        )
        return self.model.matching_logits(states)


@final
class Packed(Passes):
    """Two passes over patches that are projected once."""

    def __init__(self, model: IsthmusForAlignment, patches: Patches, texts: Texts) -> None:
        """Projects the patches."""
        super().__init__(model, patches, texts)
        self.seen = model.see(patches)

    def compare(self, written: Texts | None) -> Compared:
        """Runs once over images, texts and captions."""
        queries, texts, captions = alignment.packed(
            self.model.qformer, self.seen, self.texts, written
        )
        return Compared(queries=queries, texts=texts, captions=captions)

    def match(self, false_images: FalseImages, false_texts: Texts) -> Float[Tensor, "pairs 2"]:
        """Runs once over all pairs."""
        if false_images.patches is not None:
            other = self.model.see(false_images.patches)
        else:
            assert false_images.numbers is not None
            other = self.seen[false_images.numbers]
        return self.model.match(
            SeenImages.joined([self.seen, other, self.seen]),
            Texts.joined([self.texts, self.texts, false_texts]),
        )
