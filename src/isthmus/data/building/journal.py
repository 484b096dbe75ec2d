"""A file of JSON lines that grows while its maker may be killed at any time.

The first line tells what the file was begun with, each later one is an entry. A line that a crash
left torn, and whatever follows it, is cut off when the file is opened again.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final


@final
class Journal:
    """Entries on disk; read them by iteration, and add to them by `extend`."""

    def __init__(self, path: Path, about: Mapping[str, Any]):
        """Begins a journal, or opens the one that is there and mends its end.

        Args:
            path: the file.
            about: JSON-able values, all that decides the entries.

        Raises:
            ValueError: the file was begun with something else.
        """
        self.path = path
        if not path.exists():
            write_lines(path, [line_of({"about": about})])
            return
        with path.open("r+b") as file:
            begun = _whole(file.readline())
            if begun is None or "about" not in begun:
                raise ValueError(f"{path} is no journal; choose another output, or move it away")
            _check_same(path, begun["about"], json.loads(json.dumps(about)))
            whole = file.tell()
            while _whole(file.readline()) is not None:
                whole = file.tell()
            file.truncate(whole)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields the entries in their order."""
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                yield json.loads(line)

    def extend(self, entries: Iterable[Mapping[str, Any]], *, every: int) -> None:
        """Adds entries as they are made.

        Args:
            entries: JSON-able.
            every: entries after which the file is brought to the disk; a crash of the machine
                loses at most so many.
        """
        with self.path.open("ab") as file:
            for number, entry in enumerate(entries, start=1):
                file.write(line_of(entry))
                if number % every == 0:
                    file.flush()
                    os.fsync(file.fileno())


def line_of(value: Mapping[str, Any]) -> bytes:
    """Returns a JSON-able value as a line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Writes a file that appears under its name only when it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _whole(line: bytes) -> dict[str, Any] | None:
    """Returns the object that a line holds; None for a torn line and at the end of the file."""
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _check_same(path: Path, begun: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    differing = [name for name in {**begun, **about} if begun.get(name) != about.get(name)]
    if differing:
        raise ValueError(
            f"{path} was begun with other {', '.join(differing)}; give the same again, or choose "
            "another file"
        )
