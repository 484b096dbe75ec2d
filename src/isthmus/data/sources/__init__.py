"""Data files: the folder is the registry of row layouts, and a file is known by its content.

A file is a JSON array or JSON lines; the keys of a row tell its layout. A further layout is one
more module here that binds `SOURCE` to a `Source`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isthmus import kinds
from isthmus.data.sample import Sample
from isthmus.data.sources.base import Source


def read(file: Path, image_root: Path) -> Iterator[Sample]:
    """Yields the samples of a data file, whichever layout it has.

    Args:
        file: JSON array or JSON lines of rows.
        image_root: folder in which the images of every row lie.

    Raises:
        ValueError: a row can't be used; the message names the file, the row (from 1) and why.
    """
    sources = {
        source.key: source
        for source in (kinds.load(__name__, kind).SOURCE() for kind in kinds.names(__name__))
    }
    number = 0
    for number, row in _rows(file):
        try:
            sample = _sample(row, sources, f"{file.stem}-{number}", image_root)
        except ValueError as error:
            raise ValueError(f"{file}, row {number}: {error}") from error
        yield sample
    if not number:
        raise ValueError(f"{file} holds no row; expected a JSON array or JSON lines")


def _sample(row: Any, sources: dict[str, Source], name: str, image_root: Path) -> Sample:
    if isinstance(row, str):
        try:
            row = json.loads(row)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"a row is {row!r:.80}; expected an object")
    for key, source in sources.items():
        if key in row:
            return source.sample(row, name=name, image_root=image_root)
    raise ValueError(f"the keys {', '.join(row)} name no layout; expected {' or '.join(sources)}")


def _rows(file: Path) -> Iterator[tuple[int, Any]]:
    """Yields row number and row; a line of JSON lines is yielded undecoded, faults and all."""
    if not file.is_file():
        raise ValueError(f"the data file {file} does not exist")
    with file.open(encoding="utf-8") as lines:
        if _first_character(file) == "[":
            try:
                rows = json.load(lines)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file} is not JSON ({error})") from error
            yield from enumerate(rows, start=1)
        else:
            yield from ((n, line) for n, line in enumerate(lines, start=1) if line.strip())


def _first_character(file: Path) -> str:
    with file.open(encoding="utf-8") as text:
        while (character := text.read(1)).isspace():
            pass
    return character
