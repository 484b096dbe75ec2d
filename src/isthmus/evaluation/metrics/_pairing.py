"""Things of two lists paired one to one, so that the most pairs fit."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment

_Thing = TypeVar("_Thing")


def most_pairs(
    predicted: Sequence[_Thing], truth: Sequence[_Thing], fits: Callable[[_Thing, _Thing], bool]
) -> int:
    """Returns how many of them fit, paired so that these are as many as can be.

    Args:
        predicted: of the model; at least one.
        truth: what it should have said; at least one.
        fits: whether a predicted and a true one are a pair.
    """
    hits = np.array([[fits(a, b) for b in truth] for a in predicted], dtype=float)
    rows, columns = linear_sum_assignment(hits, maximize=True)
    return int(hits[rows, columns].sum())
