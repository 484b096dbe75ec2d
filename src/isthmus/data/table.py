"""Tables on disk, row by row; a picture in one is named by its cell, and read when it is looked at.

What a row says is read without the bytes of its pictures, so that a pass over the words of a table
takes a share of its size. A parquet file has to unpack a whole group of rows for one cell, so the
last groups are kept, and a mixture draws rows of one group near one another.
"""

import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Condition
from typing import Any

import numpy as np
from cachetools import LRUCache, cached

from isthmus.data import hub_files
from isthmus.data.faults import Fault
from isthmus.data.row_groups import (
    ARROW_FILE,
    ARROW_STREAM,
    PARQUET,
    ArrowGroups,
    ParquetGroups,
    RowGroups,
    is_list,
)

_NUMBER = re.compile(r"[0-9]{1,18}")

_KEPT_FILES = 64
_KEPT_BYTES = 1 << 30
"""Of groups that are unpacked; a larger one is unpacked for each cell."""


def is_table(path: Path) -> bool:
    """Returns whether a file is a table, by its first bytes."""
    with hub_files.opened(path) as file:
        return file.read(8).startswith((PARQUET, ARROW_FILE, ARROW_STREAM))


def num_rows(path: Path) -> int:
    """Returns the number of rows of a table.

    Raises:
        Fault: the file cannot be read.
        ValueError: pyarrow is not installed.
    """
    with _reading(path):
        return int(_groups(path).ends[-1])


def blocks(path: Path) -> np.ndarray | None:
    """Returns how many rows lie before each group and in all; None where none has to be unpacked.

    Raises:
        Fault: the file cannot be read.
        ValueError: pyarrow is not installed.
    """
    with _reading(path):
        groups = _groups(path)
        return groups.ends if groups.is_unpacked else None


def row(path: Path, number: int) -> tuple[dict[str, Any], bool]:
    """Returns a row, and whether the table holds its pictures.

    A picture that it holds is named `NUMBER/COLUMN`, or `NUMBER/COLUMN/PLACE` in a cell of several;
    one that it names has its path. What is null is left out, since a table writes every key in
    every row.

    Args:
        path: the table.
        number: of the row, from 0.

    Raises:
        Fault: the row cannot be read, or holds bytes in another place than a picture's.
    """
    with _reading(path):
        groups = _groups(path)
        group, place = groups.place(number)
        words = _words(path, group)
        told: dict[str, Any] = {}
        holds = False
        for column in groups.columns:
            if column not in groups.picture_columns:
                told[column] = _plain(words.column(column)[place].as_py(), column)
                continue
            embeds = groups.embeds(group, column, words)
            cells = _pictures(path, group, column) if embeds is None else None
            cell = (words.column(column) if cells is None else cells)[place]
            told[column], held = _names(cell, f"{number}/{column}", embeds)
            holds = holds or held
    return {key: value for key, value in told.items() if value is not None}, holds


def has(path: Path, cell: tuple[str, ...]) -> bool:
    """Returns whether there is a cell, as far as it shows without reading it; see `picture`."""
    if len(cell) not in (2, 3) or not all(map(_NUMBER.fullmatch, cell[::2])):
        return False
    with _reading(path):
        groups = _groups(path)
        return int(cell[0]) < int(groups.ends[-1]) and cell[1] in groups.picture_columns


def picture(path: Path, cell: tuple[str, ...]) -> Any:
    """Returns what a cell holds as a buffer of pyarrow, of which nothing is copied yet.

    Args:
        path: the table.
        cell: number of the row, column and, in a cell of several, place of the picture.

    Raises:
        Fault: it cannot be read, or holds no picture.
    """
    with _reading(path):
        group, place = _groups(path).place(int(cell[0]))
        found = _pictures(path, group, cell[1])[place]
        content = _bytes_of(_inside(found, [int(number) for number in cell[2:]]))
    if content is None:
        raise Fault("image_missing", f"{'/'.join(cell)} of {path} holds no image")
    return content.as_buffer()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns whatever pyarrow raises on a damaged table into one error."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            f"reading the table {path} needs pyarrow; install it with `pip install 'isthmus[hub]'`"
        )
    try:
        yield
    except Fault:
        raise
    except Exception as error:  # a table of noise raises anything
        raise Fault("archive_damaged", f"{path} cannot be read: {error}") from error


def _groups(path: Path) -> RowGroups:
    return _opened(path, *hub_files.stat_of(path))


@lru_cache(_KEPT_FILES)
def _opened(path: Path, size: int, mtime_ns: int) -> RowGroups:
    with hub_files.opened(path) as file:
        is_parquet = file.read(len(PARQUET)) == PARQUET
    return ParquetGroups(path) if is_parquet else ArrowGroups(path)


def _key(path: Path, *which: int | str) -> tuple[Any, ...]:
    return path, hub_files.stat_of(path), *which


_kept: LRUCache[Any, Any] = LRUCache(_KEPT_BYTES, getsizeof=lambda unpacked: unpacked.nbytes)
# Threads that want the same group wait for the one that unpacks it.
_once = cached(_kept, key=_key, condition=Condition())


@_once
def _words(path: Path, group: int) -> Any:
    return _groups(path).words(group)


@_once
def _pictures(path: Path, group: int, column: str) -> Any:
    return _groups(path).pictures(group, column)


def _names(cell: Any, name: str, embeds: bool | None) -> tuple[Any, bool]:
    """Returns the name of a picture, or a list of them, and whether the table holds any of them."""
    if not cell.is_valid:
        return None, False
    if is_list(cell.type):
        found = [_names(each, f"{name}/{n}", embeds) for n, each in enumerate(cell)]
        return [each for each, _ in found if each is not None], any(held for _, held in found)
    if embeds is None:
        embeds = _bytes_of(cell) is not None
    if embeds:
        return name, True
    return cell["path"].as_py() if _has(cell, "path") else None, False


def _inside(cell: Any, places: Sequence[int]) -> Any:
    """Returns what lies in a cell of several at some place; None where there is nothing."""
    for place in places:
        if not cell.is_valid or not is_list(cell.type) or place >= len(cell):
            return None
        cell = cell[place]
    return cell


def _bytes_of(cell: Any) -> Any:
    """Returns the bytes of a picture, as a value of pyarrow; None where there are none."""
    if cell is None or not cell.is_valid or is_list(cell.type):
        return None
    content = cell["bytes"] if _has(cell, "bytes") else cell
    return content if content.is_valid else None


def _has(cell: Any, field: str) -> bool:
    from pyarrow import types

    return types.is_struct(cell.type) and cell.type.get_field_index(field) >= 0


def _plain(value: Any, column: str) -> Any:
    """Returns a value as JSON would have it, without what is null in its objects."""
    if isinstance(value, dict):
        return {k: _plain(v, column) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_plain(each, column) for each in value]
    if isinstance(value, bytes):
        raise Fault(
            "wrong_layout",
            f"the column {column} holds bytes within its values; give pictures a column of their "
            "own, such as `images`",
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)  # of dates and decimals, which no layout asks for
