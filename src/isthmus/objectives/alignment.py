"""Pictures and texts held together in three ways: compared, matched, and told in words.

A batch of pairs is all that there is to learn from: what is true of it, and what is false, follows
from which pairs show the same image or say the same.
"""

from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from jaxtyping import Bool
from torch import Tensor

from isthmus.axes import Batch, Patches
from isthmus.modeling.alignment import Texts, padded
from isthmus.objectives import _processes as processes
from isthmus.objectives._captioning import Captioning, captioning_loss
from isthmus.objectives._contrastive import (
    Contrastive,
    Similarities,
    accuracy,
    compare,
    contrastive_loss,
)
from isthmus.objectives._matching import Matching, Negatives, draw_negatives, matching_loss
from isthmus.objectives._passes import FalseImages, Packed, Passes, Plain
from isthmus.objectives.base import Objective, ObjectiveConfig, Outcome


@final
class Alignment(Objective):
    """Image-text contrast (ITC), matching (ITM) and image-grounded captioning (ITG).

    Paper: BLIP-2, arXiv 2301.12597, section 3.1.
    Units: nats per pair (contrast, matching), and per word (captioning). A step that is computed in
        pieces holds the pairs of a piece against each other, and those of other pieces not; its
        captioning is the mean over words of each piece, weighed by pairs, as in the published code.
    Differs: pairs whose texts are the same are no negatives of each other; the published code knows
        those of the same image alone. Images of other processes, drawn as negatives, are sent as
        their tower saw them, and no gradient comes back; the published code gathers them all.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ObjectiveConfig):
        """Which of the three, and how they are computed."""

        contrastive: Contrastive | None = field(default_factory=Contrastive)
        """Image-text contrast; None, or a weight of 0, leaves it out."""
        matching: Matching | None = field(default_factory=Matching)
        """Image-text matching; None, or a weight of 0, leaves it out."""
        captioning: Captioning | None = field(default_factory=Captioning)
        """Captioning; None, or a weight of 0, leaves it out."""
        packed: bool = True
        """Two passes over a batch in place of six, with the same result."""

        def __post_init__(self) -> None:
            """Checks that there is something to learn.

            Raises:
                ValueError: all three are left out.
            """
            if not any(map(_weight, (self.contrastive, self.matching, self.captioning))):
                raise ValueError(
                    "alignment has no contrastive, no matching and no captioning; name one, and "
                    "give it a weight"
                )

        @property
        def least_samples(self) -> int:
            """Two, since pairs are held against each other; captions are told one by one."""
            return 2 if _weight(self.contrastive) or _weight(self.matching) else 1

    def __init__(self, config: Config, model: Any):
        """Holds the settings; the parameters are the model's."""
        super().__init__()
        self.config = replace(
            config,
            contrastive=config.contrastive if _weight(config.contrastive) else None,
            matching=config.matching if _weight(config.matching) else None,
            captioning=config.captioning if _weight(config.captioning) else None,
        )

    def forward(self, model: Any, batch: Batch) -> Outcome:
        """Returns the losses by name, weighted, and what of the batch was told right."""
        config = self.config
        texts = Texts(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        written = texts.begun_by(model.config.bos_token_id) if config.captioning else None
        passes = (Packed if config.packed else Plain)(model, _patches(model, batch), texts)
        found = passes.compare(written)
        losses: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        if config.contrastive or config.matching:
            sizes = processes.batch_sizes(len(texts), batch.input_ids.device)
            same = same_pairs(batch, sizes)
            counts = _counts(batch, sizes)
            with torch.set_grad_enabled(torch.is_grad_enabled() and config.contrastive is not None):
                similarities = compare(
                    model.image_embeds(found.queries),
                    model.text_embeds(found.texts),
                    model.temperature,
                    sizes,
                    gradient=config.contrastive is not None and config.contrastive.gradient,
                )
        if config.contrastive:
            smoothing = self._smoothing(config.contrastive.label_smoothing)
            counted, true = similarities.among(counts), same[:, counts]
            loss = contrastive_loss(counted, true, label_smoothing=smoothing)
            losses["contrastive"] = loss * config.contrastive.weight
            metrics["contrastive_accuracy"] = accuracy(counted, true)
        if config.matching:
            loss, right = self._match(passes, similarities, same | ~counts, sizes, config.matching)
            losses["matching"] = loss * config.matching.weight
            metrics["matching_accuracy"] = right
        if config.captioning:
            assert written is not None
            assert found.captions is not None
            smoothing = self._smoothing(config.captioning.label_smoothing)
            told = captioning_loss(model, found.captions, written, label_smoothing=smoothing)
            losses["captioning"] = told.loss * config.captioning.weight
            metrics["token_accuracy"] = told.accuracy
        return Outcome(losses, metrics)

    def num_items(self, batch: Batch) -> int:
        """Returns the pairs of the batch."""
        return len(batch.input_ids)

    def _smoothing(self, share: float) -> float:
        return share if self.training else 0.0

    def _match(
        self,
        passes: Passes,
        similarities: Similarities,
        no_negatives: Bool[Tensor, "batch everyone"],
        sizes: list[int],
        config: Matching,
    ) -> tuple[Tensor, Tensor]:
        """Returns the loss of the matching, and the share of pairs that was told right."""
        texts, is_local = passes.texts, config.negatives == "local" or len(sizes) == 1
        first = sum(sizes[: processes.rank()])
        own = slice(first, first + len(texts))
        drawn_from = own if is_local else slice(None)
        negatives = draw_negatives(
            similarities.image_to_text[:, drawn_from],
            similarities.text_to_image[:, drawn_from],
            no_negatives[:, drawn_from],
            chance=self.training,
        )
        if is_local:
            false_images = FalseImages(numbers=negatives.images)
            false_texts = texts[negatives.texts]
        else:
            false_images = FalseImages(patches=_fetched(passes.patches, negatives, sizes))
            false_texts = _everyones(texts, passes.model.config.max_caption_tokens, sizes)[
                negatives.texts
            ]
        return matching_loss(passes.match(false_images, false_texts), negatives)


def _weight(of: Contrastive | Matching | Captioning | None) -> float:
    return 0.0 if of is None else of.weight


def same_pairs(batch: Batch, sizes: list[int]) -> Bool[Tensor, "batch everyone"]:
    """Returns which texts of all processes tell of which images of this one, as far as known.

    A pair belongs together with one of the same image, and with one that says the same.
    """
    same = None
    for names in (batch.image_ids, batch.text_ids):
        if names is not None:
            equal = names[:, None] == processes.gathered(names, sizes)
            same = equal if same is None else same | equal
    if same is not None:
        return same
    first = sum(sizes[: processes.rank()])
    numbers = torch.arange(sum(sizes), device=batch.input_ids.device)
    return numbers[first : first + len(batch.input_ids), None] == numbers


def _counts(batch: Batch, sizes: list[int]) -> Bool[Tensor, " everyone"]:
    """Returns which pairs of all processes count, for those of this one.

    To others a stand-in is not there. Its own process needs it, lest nothing of it were true.
    """
    rows = torch.full((len(batch.input_ids),), batch.stand_in, device=batch.input_ids.device)
    stand_ins = processes.gathered(rows.int(), sizes).bool()
    return torch.ones_like(stand_ins) if batch.stand_in else ~stand_ins


def _patches(model: Any, batch: Batch) -> Patches:
    if batch.patch_features is None:
        return model.encode_images(batch.pixel_values).to(model.temperature.dtype)
    return model.patches_of(batch.patch_features).to(model.temperature.dtype)


def _fetched(patches: Patches, negatives: Negatives, sizes: list[int]) -> Patches:
    """Returns the false images as their tower saw them."""
    states = processes.fetched(patches.states, negatives.images, sizes)
    found = Patches.of_states(states, patches.grid)
    if patches.mask is None:
        return found
    mask = processes.fetched(patches.mask.int(), negatives.images, sizes)
    return replace(found, mask=mask.bool())


def _everyones(texts: Texts, length: int, sizes: list[int]) -> Texts:
    """Returns the texts of all processes."""
    return Texts(
        input_ids=processes.gathered(padded(texts.input_ids, length), sizes),
        attention_mask=processes.gathered(padded(texts.attention_mask, length), sizes),
    )


OBJECTIVE = Alignment
