"""Marks that several files of tests set in the same way."""

from collections.abc import Sequence
from typing import Any

import pytest


def first_now(values: Sequence[Any]) -> list[Any]:
    """The first of some values; the others are slow."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.slow) for value in others)]
