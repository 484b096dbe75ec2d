"""The order of samples: a pure function of the seed, the epoch and the samples' lengths.

Nothing else goes in, so a resumed run meets the very batches it would have met, on any number of
processes. Samples of about one length share a batch, which saves padding; to keep chance in the
batches, that sorting stays within windows of a shuffled epoch, and the batches of a window are
shuffled again.
"""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

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


def even_batches(lengths: Sequence[int], num: int, *, seed: int, window: int) -> list[list[int]]:
    """Returns the samples of a window in so many batches, whose sizes differ by one at most.

    Samples of about one length share a batch. The first batch of the first window is the largest of
    them with its padding, so that memory which does not suffice shows soon.

    Args:
        lengths: length of each sample in any unit; only the order matters.
        num: batches; fewer come of it where there are fewer samples.
        seed: source of chance.
        window: windows differ by this number.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    bounds = [len(order) * n // num for n in range(num + 1)]
    batches = [order[start:end] for start, end in pairwise(bounds) if start < end]
    Random(f"window {seed} {window}").shuffle(batches)
    if window == 0 and batches:
        padded = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
        batches.insert(0, batches.pop(padded.index(max(padded))))
    return batches


def share(batch: Sequence[int], *, pieces: int, piece: int) -> list[int]:
    """Returns one of `pieces` contiguous parts of a batch; their sizes differ by one at most."""
    start, end = (len(batch) * i // pieces for i in (piece, piece + 1))
    return list(batch[start:end])
