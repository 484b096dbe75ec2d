"""The rows of files that are too large for memory: each is read when it is asked for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, overload

Row = TypeVar("Row")


class LazyRows(Sequence[Row], ABC, Generic[Row]):
    """A sequence of which nothing is kept; several threads may read it at once."""

    digest: str = ""
    """Changes with what the rows say, where the time and size of a file do not tell."""

    @abstractmethod
    def read(self, index: int) -> Row:
        """Returns a row, counted from 0.

        Raises:
            IndexError: there are fewer.
        """

    def number(self, index: int) -> int:
        """Returns the number of a row in its file, from 1."""
        return index + 1

    def blocks(self) -> Sequence[int] | None:
        """Returns how many rows lie before each block and at last in all, or None.

        The rows of a block can only be had together, so that whoever wants one of them had better
        ask for the others soon.
        """
        return None

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        """Reads a row, or several."""
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self.read(number) for number in numbers]
        return self.read(numbers)


def number_of(rows: Sequence[Any], index: int) -> int:
    """Returns the number of a row in its file, from 1; blank lines are counted."""
    return rows.number(index) if isinstance(rows, LazyRows) else index + 1
