"""The contract of an objective: model and batch in, named losses (and what else to log) out.

An objective is one file of this folder: a docstring, a class nested as `Config`, the final class,
and `OBJECTIVE = ThatClass`. It may own parameters (a temperature, a matching head), which train and
are checkpointed with the model's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from jaxtyping import Float
from torch import Tensor, nn

from isthmus import kinds
from isthmus.axes import Batch
from isthmus.config import KindConfig


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What an objective found in a batch: means over the batch's `num_items`, by name."""

    losses: Mapping[str, Float[Tensor, ""]]
    """Their sum is trained."""
    metrics: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    """Logged beside the losses, and not trained."""


class Objective(nn.Module, ABC):
    """What a model is trained for."""

    @abstractmethod
    def forward(self, model: nn.Module, batch: Batch) -> Outcome:
        """Returns the losses of a batch, and what else is worth a curve.

        Args:
            model: the model in training.
            batch: some samples.
        """

    @abstractmethod
    def num_items(self, batch: Batch) -> int:
        """Returns how many items the outcome of a batch is a mean over.

        The loop weighs the pieces of a step by it, so that a step computed in pieces, or on several
        processes, has the gradient of the whole, of every loss that is a mean over these items.
        Called before the batch is moved to a device.
        """


def check_smoothing(name: str, share: float) -> None:
    """Checks a share of the target that is spread evenly.

    Raises:
        ValueError: it is no share, or leaves nothing for the truth.
    """
    if not 0 <= share < 1:
        raise ValueError(f"{name}.label_smoothing is {share}; expected 0 or more, below 1")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(KindConfig, ABC, package="isthmus.objectives", constant="OBJECTIVE"):
    """Base of the objectives' configurations; `kind` is the name of the objective's file."""

    weight: float = 1.0
    """Factor on the objective's losses in the sum that is trained."""

    @property
    def least_samples(self) -> int:
        """How many samples a piece of a step needs for the objective to mean anything."""
        return 1

    def build(self, model: Any) -> Objective:
        """Returns the objective.

        Args:
            model: the model in training, whose widths an objective with parameters may need.
        """
        module = kinds.load(self._package, self.kind)
        return getattr(module, self._constant)(self, model)
