"""Rows of metadata files: tables, and JSON of one object for each row."""

from collections.abc import Iterator
from pathlib import Path
from typing import final

from isthmus.data import table
from isthmus.data.building.filters import Row
from isthmus.data.faults import Fault
from isthmus.data.rows import number_of
from isthmus.data.sources import rows_of
from isthmus.data.sources._files import decoded


@final
class MetadataRows:
    """The rows of a file in order, each named by its place where it has no id."""

    def __init__(self, file: Path, *, id_column: str):
        """Opens a file.

        Raises:
            ValueError: it does not exist, or holds no row.
        """
        if not file.is_file():
            raise ValueError(f"the data file {file} does not exist")
        self._file, self._id = file, id_column
        self.unread = 0
        """Rows so far that are no objects, and are passed over."""

    def __iter__(self) -> Iterator[Row]:
        """Yields what each row says."""
        self.unread = 0
        if table.is_table(self._file):
            for number in range(table.num_rows(self._file)):
                yield self._named(table.row(self._file, number)[0], number + 1)
            return
        rows = rows_of(self._file)
        for index, row in enumerate(rows):
            try:
                told = decoded(row)
            except Fault:
                self.unread += 1
            else:
                yield self._named(told, number_of(rows, index))

    def _named(self, row: Row, number: int) -> Row:
        return {self._id: f"{self._file.stem}-{number}", **row}
