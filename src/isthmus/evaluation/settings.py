"""What a user may set: counts that make sense, and nothing that would be ignored."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")


def check_counts(least: int, **counts: int | None) -> None:
    """Checks counts by their names; None is one that was left out.

    Raises:
        ValueError: one is too small.
    """
    for name, value in counts.items():
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}; expected {least} or more")


def check_unused(settings: Any, names: Sequence[str], reason: str) -> None:
    """Checks that settings of a command are left out where nothing depends on them.

    Args:
        settings: the dataclass that holds them.
        names: of its fields.
        reason: why nothing depends on them.

    Raises:
        ValueError: one differs from what it is by default.
    """
    for each in fields(settings):
        value = getattr(settings, each.name)
        if each.name in names and value != each.default:
            flag = each.name.replace("_", "-")
            raise ValueError(f"--{flag} {value} would be ignored: {reason}; leave it out")


def chunks(values: Sequence[ItemT], size: int) -> list[Sequence[ItemT]]:
    """Returns values in groups of one size, the last of which may be smaller.

    Raises:
        ValueError: the size is below one.
    """
    check_counts(1, batch_size=size)
    return [values[start : start + size] for start in range(0, len(values), size)]
