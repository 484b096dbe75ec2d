"""The contract of a benchmark: samples become requests, and the answers of all of them scores.

A benchmark never sees a model, and what runs the model never sees a target. Scores belong to the
whole set, since some (CIDEr, F1, the ranks of a retrieval) are no mean over samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from isthmus.evaluation.requests import Answer, Request
from isthmus.evaluation.scores import Scores


class Benchmark(ABC):
    """A set of samples with its way of asking and its way of scoring."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The kind, which is the name of the module."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """The metric that stands for the whole benchmark."""

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """The files whose content decides the score, pictures included."""

    @abstractmethod
    def requests(self) -> list[Request]:
        """What to ask the model, in any order; ids are unique."""

    @abstractmethod
    def score(self, answers: Mapping[str, Answer], *, seed: int = 0) -> Scores:
        """Scores the answers of the whole set.

        Args:
            answers: The answer to every request, by request id.
            seed: Of the bootstrap.
        """

    @abstractmethod
    def baselines(self) -> dict[str, dict[str, Answer]]:
        """Answers to every request that need no model, by the name of the baseline."""
