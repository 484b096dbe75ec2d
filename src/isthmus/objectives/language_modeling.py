"""Next-token prediction of the assistant's words, given the images and the words before."""

from dataclasses import dataclass
from typing import Any, final

from isthmus.axes import Batch
from isthmus.language.cross_entropy import next_token_loss
from isthmus.objectives._reading import read
from isthmus.objectives.base import Objective, ObjectiveConfig, Outcome


@final
class LanguageModeling(Objective):
    """Cross-entropy over the supervised positions; no logits are computed elsewhere.

    Units: nats per supervised token.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ObjectiveConfig):
        """Settings of the objective."""

        label_smoothing: float = 0.0
        """Share of the target spread evenly over the vocabulary; not in validation."""

    def __init__(self, config: Config, model: Any):
        """Holds the settings; there are no parameters."""
        super().__init__()
        self.label_smoothing = config.label_smoothing

    def forward(self, model: Any, batch: Batch) -> Outcome:
        """Returns the mean cross-entropy and the share of tokens told right."""
        assert batch.labels is not None
        told = next_token_loss(
            read(model, batch).hidden,
            batch.labels,
            model.logits_of,
            label_smoothing=self.label_smoothing if self.training else 0.0,
            shifted=batch.decoded,
        )
        return Outcome({"language_modeling": told.loss}, {"token_accuracy": told.accuracy})

    def num_items(self, batch: Batch) -> int:
        """Returns the supervised tokens of the batch."""
        return batch.num_supervised


OBJECTIVE = LanguageModeling
