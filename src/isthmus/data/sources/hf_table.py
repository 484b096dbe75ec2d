"""Tables of Hugging Face data sets, parquet or Arrow, with the pictures inside or beside them."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final, overload

import numpy as np

from isthmus.data import table
from isthmus.data.sample import Sample
from isthmus.data.sources import content_of_row
from isthmus.data.sources._listed import listed
from isthmus.data.sources.base import Reader

SUFFIXES = (".parquet", ".arrow")


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies."""

    table: Path
    number: int
    """From 0."""


@final
@dataclass(frozen=True, kw_only=True)
class HfTable(Reader):
    """Reads tables, of which `file` is one, a folder, or a pattern as `train-*.parquet`.

    A row has the layout of a row of JSON lines, such as FineVision's `images` and `texts`. A
    picture may be inside, as `{"bytes", "path"}` or as bytes; else it is a path below the image
    root. What is null counts as absent.

    With `hub`, the last two parts of `file` are the name of a data set on the hub. It is got, or
    taken from the cache of `datasets`, which keeps it as Arrow files; none of its code is run.
    """

    hub: bool = False
    split: str | None = None
    """Of a data set on the hub, whole."""
    subset: str | None = None
    """Of a data set on the hub that has several; its configuration, as `datasets` calls it."""

    def __post_init__(self) -> None:
        """Checks that no setting is ignored.

        Raises:
            ValueError: one is, or the split is missing.
        """
        if self.hub == (self.split is None) or (self.subset and not self.hub):
            raise ValueError(
                f"hub is {self.hub}, split {self.split!r} and subset {self.subset!r}; a data set "
                "on the hub needs a split, such as train, and files are named by the pattern alone"
            )

    def rows(self, files: Mapping[str, Path]) -> Sequence[Place]:
        """Returns where the rows are, of which none is read; see `Reader.rows`."""
        file = files["file"]
        tables = self._got("/".join(file.parts[-2:])) if self.hub else listed(file, SUFFIXES)
        for path in tables:
            if not table.is_table(path):
                raise ValueError(f"{path} is no table; expected a parquet or an Arrow file")
        return _Places(tables)

    def content(self, row: Any, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row, whose pictures stay where they are; see `Reader.content`."""
        told, is_inside = table.row(row.table, row.number)
        root = row.table if is_inside else image_root
        return content_of_row(told, name=name, image_root=root)

    def _got(self, name: str) -> list[Path]:
        """Returns the Arrow files that `datasets` keeps of a split."""
        if importlib.util.find_spec("datasets") is None:
            raise ValueError(
                f"the data set {name} on the hub needs datasets; install it with "
                "`pip install 'isthmus[hub]'`"
            )
        from datasets import load_dataset

        try:
            data = load_dataset(name, self.subset, split=self.split)
        except Exception as error:  # of the network, the hub, or whatever builds the files
            raise ValueError(f"the data set {name} cannot be got: {error}") from error
        kept = [Path(each["filename"]) for each in data.cache_files]
        if (num := sum(map(table.num_rows, kept))) != len(data):
            raise ValueError(
                f"{self.split} of {name} has {len(data)} rows, and its files {num}; name a whole "
                "split"
            )
        return kept


@final
class _Places(Sequence[Place]):
    """The rows of tables, in order."""

    def __init__(self, tables: Sequence[Path]):
        self._tables = tables
        self._ends = np.cumsum([0, *map(table.num_rows, tables)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @overload
    def __getitem__(self, index: int) -> Place: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Place]: ...

    def __getitem__(self, index: int | slice) -> Place | Sequence[Place]:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self[number] for number in numbers]
        number = int(np.searchsorted(self._ends, numbers, side="right")) - 1
        return Place(self._tables[number], numbers - int(self._ends[number]))


READER = HfTable
