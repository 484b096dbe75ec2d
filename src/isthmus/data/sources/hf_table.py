"""Tables of Hugging Face data sets, parquet or Arrow, with the pictures inside or beside them."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, final

import numpy as np

from isthmus.data import hub_files, table
from isthmus.data.rows import LazyRows
from isthmus.data.sample import Sample
from isthmus.data.sources import content_of_row
from isthmus.data.sources._listed import listed
from isthmus.data.sources.base import Reader

SUFFIXES = (".parquet", ".arrow")
CONVERTED = "refs/convert/parquet"
"""The branch in which the hub itself keeps a data set as parquet, whatever it was written as."""

_AT_ONCE = 16
"""Files whose ends are got from the hub at the same time."""


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
    taken from the cache of `datasets`, which keeps it as Arrow files; none of its code is run. With
    `streaming` nothing is kept: groups of rows are read from the hub as they are drawn, each once
    in an epoch as a rule.
    """

    hub: bool = False
    split: str | None = None
    """Of a data set on the hub, whole."""
    subset: str | None = None
    """Of a data set on the hub that has several; its configuration, as `datasets` calls it."""
    revision: str | None = None
    """Branch, tag or commit of a data set on the hub; the newest when None."""
    streaming: bool = False
    """Leave a data set on the hub there, which has to be parquet."""

    def __post_init__(self) -> None:
        """Checks that no setting is ignored.

        Raises:
            ValueError: one is, or the split is missing.
        """
        of_hub = {"subset": self.subset, "revision": self.revision, "streaming": self.streaming}
        if self.hub == (self.split is None) or (not self.hub and any(of_hub.values())):
            told = {"hub": self.hub, "split": self.split, **of_hub}
            raise ValueError(
                f"the options are {', '.join(f'{k} {v!r}' for k, v in told.items())}; a data set "
                "on the hub needs a split, such as train, and files are named by the pattern alone"
            )

    def rows(self, files: Mapping[str, Path]) -> Sequence[Place]:
        """Returns where the rows are, of which none is read; see `Reader.rows`."""
        file = files["file"]
        if self.hub:
            tables = self._of_hub("/".join(file.parts[-2:]))
            named = "\n".join(map(str, tables))  # a commit is part of each path
            return _Places(tables, digest=sha256(named.encode()).hexdigest())
        tables = listed(file, SUFFIXES)
        for path in tables:
            if not table.is_table(path):
                raise ValueError(f"{path} is no table; expected a parquet or an Arrow file")
        return _Places(tables)

    def content(self, row: Any, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row, whose pictures stay where they are; see `Reader.content`."""
        told, is_inside = table.row(row.table, row.number)
        root = row.table if is_inside else image_root
        return content_of_row(told, name=name, image_root=root)

    def _of_hub(self, name: str) -> list[Path]:
        """Returns the files of a split."""
        if importlib.util.find_spec("datasets") is None:
            raise ValueError(
                f"the data set {name} on the hub needs datasets; install it with "
                "`pip install 'isthmus[hub]'`"
            )
        return self._left(name) if self.streaming else self._got(name)

    def _got(self, name: str) -> list[Path]:
        """Returns the Arrow files that `datasets` keeps of a split."""
        from datasets import load_dataset

        with _asking(name):
            data = load_dataset(name, self.subset, split=self.split, revision=self.revision)
        kept = [Path(each["filename"]) for each in data.cache_files]
        if (num := sum(map(table.num_rows, kept))) != len(data):
            raise ValueError(
                f"{self.split} of {name} has {len(data)} rows, and its files {num}; name a whole "
                "split"
            )
        return kept

    def _left(self, name: str) -> list[Path]:
        """Returns the parquet files of a split where they lie."""
        from datasets import load_dataset_builder

        with _asking(name):
            builder = load_dataset_builder(name, self.subset, revision=self.revision)
        splits = builder.config.data_files
        if self.split not in splits:
            raise ValueError(f"{name} has the splits {', '.join(splits)}; not {self.split!r}")
        others = [file for file in splits[self.split] if not file.endswith(".parquet")]
        if others:
            raise ValueError(
                f"{name} has the file {others[0]}, which cannot be streamed; give the option "
                f"`revision: {CONVERTED}`, where the hub keeps it as parquet, or get it without "
                "`streaming`"
            )
        return [hub_files.path_of(file) for file in splits[self.split]]


@contextmanager
def _asking(name: str) -> Iterator[None]:
    """Turns whatever the network, the hub, or what builds the files raises into one error."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"the data set {name} cannot be got: {error}") from error


@final
class _Places(LazyRows[Place]):
    """The rows of tables, in order."""

    def __init__(self, tables: Sequence[Path], *, digest: str = ""):
        self._tables, self.digest = tables, digest
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            sizes = list(pool.map(table.num_rows, tables))
            self._blocks = list(pool.map(table.blocks, tables))
        self._ends = np.cumsum([0, *sizes])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int) -> Place:
        """Returns where a row lies; see `LazyRows.read`."""
        number = int(np.searchsorted(self._ends, index, side="right")) - 1
        return Place(self._tables[number], index - int(self._ends[number]))

    def blocks(self) -> Sequence[int] | None:
        """Returns where groups of rows begin, if any are unpacked; see `LazyRows.blocks`."""
        if all(blocks is None for blocks in self._blocks):
            return None
        found = [0]
        for start, end, blocks in zip(self._ends[:-1], self._ends[1:], self._blocks, strict=True):
            found += [int(end)] if blocks is None else (blocks[1:] + start).tolist()
        return found


READER = HfTable
