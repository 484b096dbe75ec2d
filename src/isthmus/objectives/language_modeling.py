"""Next-token prediction of the assistant's words, given the images and the words before."""

from dataclasses import dataclass
from typing import Any, final

from torch import nn

from isthmus.axes import Batch
from isthmus.objectives.base import Objective, ObjectiveConfig, Outcome


@final
class LanguageModeling(Objective):
    """Cross-entropy over the supervised positions; no logits are computed elsewhere.

    Units: nats per supervised token.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ObjectiveConfig):
        """Settings of the objective; it has none of its own."""

    def __init__(self, config: Config, model: Any):
        """Holds nothing; the loss is the model's own."""
        super().__init__()

    def forward(self, model: nn.Module, batch: Batch) -> Outcome:
        """Returns the mean cross-entropy and the share of tokens told right."""
        # A cache would be filled for nothing, and lets packed samples see each other.
        output = model(**batch.model_inputs(), labels=batch.labels, use_cache=False)
        return Outcome(
            {"language_modeling": output.loss}, {"token_accuracy": output.token_accuracy}
        )

    def num_items(self, batch: Batch) -> int:
        """Returns the supervised tokens of the batch."""
        return batch.num_supervised


OBJECTIVE = LanguageModeling
