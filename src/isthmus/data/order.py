"""The order of samples: a pure function of the seed, the epoch and the samples' lengths.

Nothing else goes in, so a resumed run meets the very batches it would have met, on any number of
processes. Samples of about one length share a batch, which saves padding; to keep chance in the
batches, that sorting stays within windows of a shuffled epoch, and the batches of a window are
shuffled again.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import final

WINDOW = 32
"""Batches within which samples are sorted by length; wider saves more padding but mixes less."""


def epoch_batches(
    lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Returns the batches of an epoch: each sample once, one batch perhaps short.

    The very first batch of all is the largest with its padding, so that memory which does not
    suffice shows at once.

    Args:
        lengths: length of each sample in any unit; only the order matters.
        batch_size: samples in a batch.
        seed: source of chance.
        epoch: epochs differ by this number.
    """
    chance = Random(f"order {seed} {epoch}")
    order = list(range(len(lengths)))
    chance.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), WINDOW * batch_size):
        window = sorted(order[start : start + WINDOW * batch_size], key=lengths.__getitem__)
        cut = [window[i : i + batch_size] for i in range(0, len(window), batch_size)]
        chance.shuffle(cut)
        batches += cut
    if epoch == 0 and batches:
        padded = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
        batches.insert(0, batches.pop(padded.index(max(padded))))
    return batches


def share(batch: Sequence[int], *, pieces: int, piece: int) -> list[int]:
    """Returns one of `pieces` contiguous parts of a batch; their sizes differ by one at most."""
    start, end = (len(batch) * i // pieces for i in (piece, piece + 1))
    return list(batch[start:end])


@final
class Order:
    """The batches of a whole run, by step."""

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int):
        """Plans over samples of these lengths; see `epoch_batches`."""
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = math.ceil(len(lengths) / batch_size)
        self._epoch = -1
        self._batches: list[list[int]] = []

    def batch(self, step: int) -> list[int]:
        """Returns the samples of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._batches = epoch_batches(
                self.lengths, batch_size=self.batch_size, seed=self.seed, epoch=epoch
            )
        return self._batches[position]
