"""Several samples in one row: which go together, and the rows that come of it.

A row is as long as its longest sample in any case. What the others leave empty costs as much as
words, so short samples share a row, and none of them sees another.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import final

from isthmus.axes import Batch
from isthmus.data.dataset import ConversationDataset

WINDOW = 4096
"""Samples of which rows are made at once. Chance decides which they are; within them, length."""


@final
@dataclass(frozen=True, kw_only=True)
class Packing:
    """How much goes into a row."""

    max_tokens: int
    """Most tokens of a row, text and visual ones. A sample that is longer has a row of its own."""
    max_images: int | None = None
    """Most views of images in a row, where their memory is what there is least of."""

    def __post_init__(self) -> None:
        """Checks the limits.

        Raises:
            ValueError: one is below 1.
        """
        for name in ("max_tokens", "max_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} of a row is {value}; expected 1 or more")


def plan(
    lengths: Sequence[int], images: Sequence[int], packing: Packing, *, seed: int
) -> list[list[int]]:
    """Returns the samples of each row, every sample in one row.

    The longest goes first, each into the fullest row that has room for it (best fit, decreasing).

    Args:
        lengths: tokens of each sample.
        images: views of images of each sample.
        packing: what a row holds at most.
        seed: of the chance that decides which samples are looked at together.
    """
    order = list(range(len(lengths)))
    Random(f"packing {seed}").shuffle(order)
    rows: list[list[int]] = []
    for start in range(0, len(order), WINDOW):
        window = sorted(order[start : start + WINDOW], key=lambda index: -lengths[index])
        rows += _fitted(window, lengths, images, packing)
    return rows


def _fitted(
    window: Sequence[int], lengths: Sequence[int], images: Sequence[int], packing: Packing
) -> list[list[int]]:
    rows: list[list[int]] = []
    shown: list[int] = []
    free: list[tuple[int, int]] = []  # tokens that a row has room for, and its number; ascending
    for index in window:
        length, views = lengths[index], images[index]
        place = bisect_left(free, (length, -1))
        while place < len(free) and not _takes(shown[free[place][1]], views, packing):
            place += 1
        if place == len(free):
            rows.append([index])
            shown.append(views)
            insort(free, (packing.max_tokens - length, len(rows) - 1))
            continue
        room, row = free.pop(place)
        rows[row].append(index)
        shown[row] += views
        insort(free, (room - length, row))
    return rows


def _takes(shown: int, views: int, packing: Packing) -> bool:
    return packing.max_images is None or views == 0 or shown + views <= packing.max_images


@final
class PackedDataset:
    """Conversations, of which several stand in a row; an example is a row."""

    def __init__(self, dataset: ConversationDataset, packing: Packing, *, seed: int = 0):
        """Plans the rows; every conversation is encoded for its length, and no picture is read.

        Args:
            dataset: the conversations.
            packing: what a row holds at most.
            seed: of the plan.

        Raises:
            ValueError: the model writes with a decoder, which would need a mask across both.
        """
        if dataset.processor.is_encoder_decoder:
            raise ValueError(
                "samples are packed for models of one stack, and this one reads with an encoder; "
                "set pack_tokens to None"
            )
        self.dataset = dataset
        self._lengths = dataset.token_lengths()
        self.rows = plan(self._lengths, dataset.num_images(), packing, seed=seed)

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.rows)

    def num_cut(self) -> int:
        """Returns 0: a conversation that is too long is no example."""
        return self.dataset.num_cut()

    def lengths(self) -> list[int]:
        """Returns the tokens of each row."""
        return [sum(self._lengths[index] for index in row) for row in self.rows]

    def held(self, indices: Sequence[int]) -> int:
        """Returns how many samples some rows hold."""
        return sum(len(self.rows[index]) for index in indices)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns some rows as a batch; see `ConversationDataset.batch_of_rows`."""
        return self.dataset.batch_of_rows([self.rows[index] for index in indices])
