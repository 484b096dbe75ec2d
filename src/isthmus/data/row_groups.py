"""Table files as groups of rows: parquet unpacks a group at a time, Arrow maps it into memory."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from isthmus.data import hub_files
from isthmus.data.faults import Fault

MAX_GROUP_BYTES = 1 << 31
"""Most bytes that a group is unpacked to, by what the parquet file says of itself. A group is held
in memory whole, and a small file may claim to hold any amount."""

PARQUET = b"PAR1"
ARROW_FILE = b"ARROW1"
ARROW_STREAM = b"\xff\xff\xff\xff"
"""First bytes of the files; the data sets that `datasets` keeps are Arrow streams."""


class RowGroups(ABC):
    """A table file; its picture columns hold image bytes, alone or in structs beside a path."""

    is_unpacked: ClassVar[bool]
    """Whether a group has to be read whole for one of its rows."""

    def __init__(self, schema: Any, sizes: list[int]):
        """Takes the Arrow schema, and the number of rows in each group."""
        self.ends = np.cumsum([0, *sizes])
        """Rows before each group, and at last of all."""
        self.columns: tuple[str, ...] = tuple(schema.names)
        self.picture_columns = frozenset(f.name for f in schema if _holds_bytes(f.type))

    def place(self, number: int) -> tuple[int, int]:
        """Returns the group of a row, and where the row lies in it."""
        group = int(np.searchsorted(self.ends, number, side="right")) - 1
        return group, number - int(self.ends[group])

    @abstractmethod
    def words(self, group: int) -> Any:
        """Returns a group; of pictures it has all but their bytes, or nothing."""

    @abstractmethod
    def embeds(self, group: int, column: str, words: Any) -> bool | None:
        """Returns whether the table holds the pictures of a column.

        Args:
            group: number of the group.
            column: one of `picture_columns`.
            words: what the method of this name returns of the group.

        Returns:
            Whether it holds all of them or none; None if it may be some, so that `pictures` has to
            be asked.
        """

    @abstractmethod
    def pictures(self, group: int, column: str) -> Any:
        """Returns one column of a group."""


@final
class ParquetGroups(RowGroups):
    """A parquet file, also of the hub."""

    is_unpacked = True

    def __init__(self, path: Path):
        """Reads the footer of a file."""
        from pyarrow import parquet

        self._path = path
        with hub_files.opened(path) as file:
            self._about = parquet.read_metadata(file)
        groups = (self._about.row_group(n) for n in range(self._about.num_row_groups))
        super().__init__(self._about.schema.to_arrow_schema(), [g.num_rows for g in groups])
        leaves = [self._about.schema.column(n).path for n in range(self._about.num_columns)]
        self._leaves = {leaf: number for number, leaf in enumerate(leaves)}
        # Beside their paths, even those of null, structs show that they are there.
        self._named = {
            _column(leaf): leaf
            for leaf in leaves
            if leaf.endswith(".bytes") and leaf.removesuffix("bytes") + "path" in self._leaves
        }

    def words(self, group: int) -> Any:
        """Returns what is no picture, and the paths of those; see `RowGroups.words`."""
        spared = set(self._named.values())
        unnamed = self.picture_columns - self._named.keys()
        leaves = (leaf for leaf in self._leaves if leaf not in spared)
        return self._read(group, [leaf for leaf in leaves if _column(leaf) not in unnamed])

    def embeds(self, group: int, column: str, words: Any) -> bool | None:
        """Compares what the footer counts with what is there; see `RowGroups.embeds`."""
        if column not in self._named:
            return None
        told = self._about.row_group(group).column(self._leaves[self._named[column]])
        if told.statistics is None or not told.statistics.has_null_count:
            return None
        held = told.num_values - told.statistics.null_count
        return held > 0 if held in (0, _num_valid(words.column(column))) else None

    def pictures(self, group: int, column: str) -> Any:
        """Returns one column; see `RowGroups.pictures`."""
        leaves = [leaf for leaf in self._leaves if _column(leaf) == column]
        return self._read(group, leaves).column(column)

    def _read(self, group: int, leaves: list[str]) -> Any:
        from pyarrow import parquet

        told = self._about.row_group(group)
        size = sum(told.column(self._leaves[leaf]).total_uncompressed_size for leaf in leaves)
        if size > MAX_GROUP_BYTES:
            raise Fault(
                "image_too_large",
                f"group {group} of {self._path}, of {told.num_rows} rows, takes {size} bytes; "
                f"expected at most {MAX_GROUP_BYTES}; write the table again in smaller groups",
            )
        # Without threads of its own, which a process that was forked would not have.
        with hub_files.opened(self._path) as content:
            # Parts that follow one another are got at once.
            file = parquet.ParquetFile(content, metadata=self._about, pre_buffer=True)
            return file.read_row_group(group, columns=leaves, use_threads=False)


@final
class ArrowGroups(RowGroups):
    """An Arrow file, in either of its forms; a group is a batch of records, and is not copied."""

    is_unpacked = False

    def __init__(self, path: Path):
        """Finds the batches of a file."""
        import pyarrow as pa

        with path.open("rb") as file:
            is_stream = file.read(len(ARROW_STREAM)) == ARROW_STREAM
        source = pa.memory_map(str(path))
        if is_stream:
            stream = pa.ipc.open_stream(source)
            schema, self._batches = stream.schema, list(stream)
        else:
            whole = pa.ipc.open_file(source)
            schema = whole.schema
            self._batches = [whole.get_batch(n) for n in range(whole.num_record_batches)]
        super().__init__(schema, [batch.num_rows for batch in self._batches])

    def words(self, group: int) -> Any:
        """Returns the batch; see `RowGroups.words`."""
        # What a file says of itself is not checked before: an offset could lead anywhere.
        self._batches[group].validate(full=True)
        return self._batches[group]

    def embeds(self, group: int, column: str, words: Any) -> bool | None:
        """Returns None, since every cell is at hand; see `RowGroups.embeds`."""
        return None

    def pictures(self, group: int, column: str) -> Any:
        """Returns one column; see `RowGroups.pictures`."""
        found = self._batches[group].column(column)
        found.validate(full=True)
        return found


def is_list(kind: Any) -> bool:
    """Returns whether cells of an Arrow type hold several values."""
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _num_valid(column: Any) -> int:
    """Returns how many cells are not null, of lists how many of what is in them."""
    from pyarrow import compute

    while is_list(column.type):
        column = compute.list_flatten(column)
    return len(column) - column.null_count


def _column(leaf: str) -> str:
    return leaf.partition(".")[0]


def _holds_bytes(kind: Any) -> bool:
    """Returns whether cells of a type are bytes, structs of `bytes`, or lists of either."""
    from pyarrow import types

    if is_list(kind):
        return _holds_bytes(kind.value_type)
    if types.is_struct(kind):
        number = kind.get_field_index("bytes")
        return number >= 0 and _holds_bytes(kind.field(number).type)
    return types.is_binary(kind) or types.is_large_binary(kind)
