"""ITG: an image's caption, told word by word from what the queries found."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from isthmus.axes import IGNORED_LABEL
from isthmus.config import Config
from isthmus.language.cross_entropy import NextToken, next_token_loss
from isthmus.modeling.alignment import Texts
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.objectives.base import check_smoothing


@final
@dataclass(frozen=True, kw_only=True)
class Captioning(Config):
    """Settings of the captioning."""

    weight: float = 1.0
    """Factor in the sum that is trained."""
    label_smoothing: float = 0.1
    """Share of the target spread evenly over the vocabulary."""

    def __post_init__(self) -> None:
        """Checks the numbers; see `check_smoothing`."""
        check_smoothing("captioning", self.label_smoothing)


def captioning_loss(
    model: IsthmusForAlignment,
    states: Float[Tensor, "batch seq d_hidden"],
    written: Texts,
    *,
    label_smoothing: float,
) -> NextToken:
    """Returns the mean cross-entropy in nats of each word, given the queries and those before it.

    Args:
        model: whose head tells words.
        states: of the captions behind the last layer.
        written: the captions, begun by their mark.
        label_smoothing: share of the target spread evenly.
    """
    labels = written.input_ids.masked_fill(~written.mask, IGNORED_LABEL)
    return next_token_loss(states, labels, model.word_logits, label_smoothing=label_smoothing)
