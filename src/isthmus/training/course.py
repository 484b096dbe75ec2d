"""What a stage learns from, step by step.

A course is a row of windows without end: each holds examples, cut into batches. Everything about a
window follows from its number, so a run goes on from a place, a window and a batch in it, exactly
as it would have, on any number of processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import final

from isthmus.data.ahead import made_ahead
from isthmus.data.order import epoch_batches
from isthmus.training.examples import Dataset

Place = tuple[int, int]
"""Number of a window, and of a batch in it, both from 0."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Examples that are learned from in one stretch."""

    dataset: Dataset
    batches: Sequence[Sequence[int]]
    """Examples of each batch; each example is in one of them."""
    refused: int = 0
    """Samples that would be here and have a fault."""
    filtered: int = 0
    """Samples that would be here and are not asked for."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A batch that is due."""

    dataset: Dataset
    indices: Sequence[int]
    next: Place
    """Where the course goes on behind it."""
    refused: int = 0
    """Samples of its window that have a fault, counted with the window's first batch."""
    filtered: int = 0
    """The same of those that are not asked for."""


class Course(ABC):
    """Examples in the order in which they are learned from."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Samples of an epoch."""

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """Rows of an epoch, of which each may hold several samples."""

    @abstractmethod
    def window(self, number: int) -> Window:
        """Returns a window by its number, from 0."""

    @abstractmethod
    def num_steps(self, epochs: int) -> int:
        """Returns the batches of so many epochs.

        Raises:
            ValueError: it is not known before they are met.
        """

    @abstractmethod
    def num_cut(self) -> int:
        """Returns of how many examples only the beginning is learned from, as far as is known."""

    def planned(self, place: Place) -> Iterator[Planned]:
        """Yields the batches from a place on, the next window being made meanwhile."""
        first, start = place
        windows = made_ahead(self.window, count(first), 1, ahead=1)
        for number, window in zip(count(first), windows, strict=False):
            for index in range(start, len(window.batches)):
                is_last = index + 1 == len(window.batches)
                yield Planned(
                    dataset=window.dataset,
                    indices=window.batches[index],
                    next=(number + 1, 0) if is_last else (number, index + 1),
                    refused=0 if index else window.refused,
                    filtered=0 if index else window.filtered,
                )
            start = 0


@final
class Whole(Course):
    """A data set that is known as a whole before the first step; a window is an epoch."""

    def __init__(self, dataset: Dataset, *, num_samples: int, batch_size: int, seed: int):
        """Plans over all examples; see `epoch_batches`.

        Args:
            dataset: the examples.
            num_samples: in its rows.
            batch_size: rows of a batch.
            seed: source of chance.
        """
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self._num_samples, self._lengths = num_samples, dataset.lengths()

    @property
    def num_samples(self) -> int:
        """Samples of an epoch."""
        return self._num_samples

    @property
    def num_rows(self) -> int:
        """Rows of an epoch, of which each may hold several samples."""
        return len(self._lengths)

    def window(self, number: int) -> Window:
        """Returns an epoch."""
        batches = epoch_batches(
            self._lengths, batch_size=self.batch_size, seed=self.seed, epoch=number
        )
        return Window(dataset=self.dataset, batches=batches)

    def num_steps(self, epochs: int) -> int:
        """Returns the batches of so many epochs."""
        return epochs * -(-self.num_rows // self.batch_size)

    def num_cut(self) -> int:
        """Returns of how many examples only the beginning is learned from."""
        return self.dataset.num_cut()
