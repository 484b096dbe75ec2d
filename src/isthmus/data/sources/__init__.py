"""Data files: the folder is the registry of layouts, and a file is known by its content.

A file is a JSON array, JSON lines, or one JSON object whose lists are joined to rows. The keys of
an object tell its layout. A further layout is one more module here that binds `SOURCE` to a
`Source` of rows, or `DOCUMENT` to a `Document` of them.
"""

import codecs
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

from isthmus import kinds
from isthmus.data.faults import Fault
from isthmus.data.lines import Lines
from isthmus.data.rows import number_of
from isthmus.data.sample import Sample
from isthmus.data.sources._files import decoded, read_json
from isthmus.data.sources.base import Document, Source


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a data file, read."""

    row: int
    """Number of the row or line, from 1."""
    id: str
    """The sample's, as far as the row could be read."""
    content: Sample | Fault
    """The sample, or what is wrong with the row."""


def read(file: Path, image_root: Path) -> Iterator[Sample]:
    """Yields the samples of a data file that has to be free of faults.

    Args:
        file: JSON array or JSON lines of rows.
        image_root: folder in which the images of every row lie.

    Raises:
        ValueError: a row can't be used; the message names the file, the row (from 1) and why.
    """
    for entry in entries(file, image_root):
        if isinstance(entry.content, Fault):
            fault = entry.content
            raise Fault(fault.reason, f"{file}, row {entry.row}: {fault}") from fault
        yield entry.content


def entries(file: Path, image_root: Path) -> Iterator[Entry]:
    """Yields the rows of a data file, whichever layout it has, each with its sample or its fault.

    Args:
        file: JSON array or JSON lines of rows.
        image_root: folder in which the images of every row lie.

    Raises:
        ValueError: the file does not exist, holds no row, or is an array that is no JSON.
    """
    rows = rows_of(file)
    for index, row in enumerate(rows):
        number = number_of(rows, index)
        name = f"{file.stem}-{number}"
        content: Sample | Fault
        try:
            row = decoded(row)
            content = _source(row).sample(row, name=name, image_root=image_root)
            name = content.id
        except Fault as fault:
            name = str(row.get("id", name)) if isinstance(row, dict) else name
            content = fault
        yield Entry(number, name, content)


def content_of_row(row: Any, *, name: str, image_root: Path) -> Sample:
    """Returns the sample of a row, whose keys tell its layout.

    Args:
        row: an object, or a line of JSON in bytes.
        name: id of the sample when the row gives none.
        image_root: folder in which its images lie, or the archive or table that holds them.

    Raises:
        Fault: the row is of no layout, or breaks a rule of its own.
    """
    row = decoded(row)
    return _source(row).sample(row, name=name, image_root=image_root)


@cache
def layouts() -> Mapping[str, Source]:
    """Returns the layouts of rows by the keys that tell them, the first of which decides."""
    return {key: source for source in _all("SOURCE") for key in source.keys}


def _all(name: str) -> list[Any]:
    """Returns the layouts that the modules here bind to a name."""
    modules = [kinds.load(__name__, kind) for kind in kinds.names(__name__)]
    return [getattr(module, name)() for module in modules if hasattr(module, name)]


def _source(row: dict[str, Any]) -> Source:
    for key, source in layouts().items():
        if key in row:
            return source
    found, expected = ", ".join(row), " or ".join(layouts())
    raise Fault("wrong_layout", f"the keys {found} name no layout; expected {expected}")


def rows_of(file: Path) -> Sequence[Any]:
    """Returns the rows of a data file; a line of JSON lines is its bytes, faults and all.

    Lines are read when they are asked for, other files as a whole.

    Raises:
        ValueError: the file does not exist, holds no row, or is an array that is no JSON.
    """
    if not file.is_file():
        raise ValueError(f"the data file {file} does not exist")
    rows: Sequence[Any]
    if _is_array(file):
        rows = read_json(file)
    elif (found := _document(file)) is not None:
        kind, document = found
        rows = list(kind.rows(document))
    else:
        rows = Lines(file)
    if not rows:
        raise ValueError(f"{file} holds no row; expected a JSON array or JSON lines")
    return rows


def _document(file: Path) -> tuple[Document, dict[str, Any]] | None:
    """Returns the object that a whole file is, with its layout; None for lines of objects."""
    with file.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            if not first.lstrip(codecs.BOM_UTF8).startswith(b"{"):
                return None
            lines.seek(0)
            try:  # one that is written over several lines
                value = json.load(lines)
            except (ValueError, RecursionError):
                return None
    if not isinstance(value, dict):
        return None
    return next(((kind, value) for kind in _all("DOCUMENT") if kind.keys <= value.keys()), None)


def _is_array(file: Path) -> bool:
    with file.open("rb") as text:
        start = text.read(len(codecs.BOM_UTF8))
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError(f"{file} is text in UTF-16; save it as UTF-8")
        if start != codecs.BOM_UTF8:
            text.seek(0)
        while (character := text.read(1)).isspace():
            pass
    return character == b"["
