"""Which row of which data set is drawn when: a pure function of the seed, the epoch and the sizes.

An epoch has as many draws as it is told, whatever the sizes are. How many of them each data set has
is its share of them, rounded so that over the epochs it is the share to the letter. Within a data
set its rows come in a shuffled order, each once before any comes again, over all epochs. Where rows
can only be read in blocks, a few blocks are shuffled at a time, so that each is read once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import final

import numpy as np

BLOCKS_AT_ONCE = 4
"""Blocks whose rows are shuffled together; more mix better, but have to be kept in memory."""


@final
@dataclass(frozen=True, slots=True)
class Draw:
    """A row to be learned from."""

    number: int
    """Of the draw in its epoch."""
    dataset: int
    row: int
    chance: str
    """Source of all that is drawn for the sample: its template, and the order of its choices."""


@final
class Draws:
    """The draws of a run by epoch."""

    def __init__(
        self,
        sizes: Sequence[int],
        shares: Sequence[float],
        *,
        num: int,
        seed: int,
        blocks: Mapping[int, np.ndarray] | None = None,
    ):
        """Plans over data sets of these sizes.

        Args:
            sizes: rows of each data set.
            shares: of the draws, those of each data set; they add to 1.
            num: draws of an epoch.
            seed: source of chance.
            blocks: of each data set that has some, the rows before each block and at last in all.

        Raises:
            ValueError: a data set without rows has a share.
        """
        for size, share in zip(sizes, shares, strict=True):
            if share > 0 and size == 0:
                raise ValueError(f"a data set of no rows has the share {share:g}; leave it out")
        self.sizes, self.num, self.seed = tuple(sizes), num, seed
        self._blocks = blocks or {}
        self._cumulative = np.minimum(np.cumsum([0.0, *shares]) * num, num)
        self._cumulative[-1] = num  # the shares add to 1 but for rounding
        self._epoch = -1
        self._datasets: np.ndarray = np.empty(0, dtype=np.int32)
        self._rows: np.ndarray = np.empty(0, dtype=np.int64)

    def draw(self, epoch: int, number: int) -> Draw:
        """Returns a draw of an epoch, both counted from 0."""
        if epoch != self._epoch:
            self._plan(epoch)
            self._epoch = epoch
        return Draw(
            number=number,
            dataset=int(self._datasets[number]),
            row=int(self._rows[number]),
            chance=f"draw {self.seed} {epoch} {number}",
        )

    def counts(self, epoch: int) -> list[int]:
        """Returns how many draws of an epoch each data set has.

        Shares are rounded together, from a place drawn for the epoch (systematic sampling): each
        count is the share of the draws rounded down or up, on average that share, and their sum the
        number of draws.
        """
        offset = Random(f"counts {self.seed} {epoch}").random()
        ends = np.floor(self._cumulative + offset).astype(np.int64)
        return [int(count) for count in np.diff(ends)]

    def _plan(self, epoch: int) -> None:
        before = np.zeros(len(self.sizes), dtype=np.int64)
        for earlier in range(epoch):
            before += self.counts(earlier)
        counts = self.counts(epoch)
        datasets: np.ndarray = np.repeat(np.arange(len(self.sizes), dtype=np.int32), counts)
        self._generator(f"order {epoch}").shuffle(datasets)
        rows = np.empty(self.num, dtype=np.int64)
        for dataset, count in enumerate(counts):
            rows[datasets == dataset] = self._cycle(dataset, int(before[dataset]), count)
        self._datasets, self._rows = datasets, rows

    def _cycle(self, dataset: int, start: int, count: int) -> np.ndarray:
        """Returns the rows that a data set gives from its `start`-th draw on."""
        size, parts = self.sizes[dataset], [np.empty(0, dtype=np.int64)]
        while count > 0:
            cycle, place = divmod(start, size)
            chance = self._generator(f"rows {dataset} {cycle}")
            ends = self._blocks.get(dataset)
            order = chance.permutation(size) if ends is None else _by_blocks(ends, chance)
            part = order[place : place + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def _generator(self, purpose: str) -> np.random.RandomState:
        # NumPy promises never to change what this generator gives; its newer ones may change.
        digest = sha256(f"{self.seed} {purpose}".encode()).digest()
        return np.random.RandomState(np.frombuffer(digest, dtype=np.uint32))


def _by_blocks(ends: np.ndarray, chance: np.random.RandomState) -> np.ndarray:
    """Returns all rows in an order that needs few blocks at once."""
    order = chance.permutation(len(ends) - 1)
    windows = np.array_split(order, range(BLOCKS_AT_ONCE, len(order), BLOCKS_AT_ONCE))
    rows = [np.concatenate([np.arange(ends[b], ends[b + 1]) for b in window]) for window in windows]
    return np.concatenate([chance.permutation(each) for each in rows])
