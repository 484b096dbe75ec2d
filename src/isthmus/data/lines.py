"""The lines of a file as rows."""

from pathlib import Path
from typing import final

import numpy as np

from isthmus.data.rows import LazyRows

_CHUNK = 16 << 20
"""Bytes that are looked through at once."""
_NEWLINE = ord("\n")
_SPACES = np.frombuffer(b" \t\n\r\v\f", dtype=np.uint8)


@final
class Lines(LazyRows[bytes]):
    """The lines of a file that are not blank; in memory are their places, 16 bytes for each."""

    def __init__(self, file: Path):
        """Looks through the file for ends of lines."""
        self.file = file
        bounds, firsts = _bounds(file)
        kept = np.ones(len(firsts), dtype=bool)
        with file.open("rb") as content:
            for index in np.flatnonzero(np.isin(firsts, _SPACES)):
                content.seek(int(bounds[index]))
                line = content.read(int(bounds[index + 1] - bounds[index]))
                kept[index] = bool(line.strip())
        self._starts, self._ends = bounds[:-1][kept], bounds[1:][kept]
        self._numbers = None if kept.all() else np.flatnonzero(kept) + 1

    def number(self, index: int) -> int:
        """Returns the number of a line in the file, from 1; blank ones are counted."""
        return index + 1 if self._numbers is None else int(self._numbers[index])

    def __len__(self) -> int:
        """Returns how many lines are not blank."""
        return len(self._starts)

    def read(self, index: int) -> bytes:
        """Reads a line; see `LazyRows.read`."""
        start, end = int(self._starts[index]), int(self._ends[index])
        with self.file.open("rb") as content:
            content.seek(start)
            return content.read(end - start)


def _bounds(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each line begins and the last one ends, and the first byte of each line."""
    if not (size := file.stat().st_size):
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    content = np.memmap(file, dtype=np.uint8, mode="r")
    found = [
        np.flatnonzero(content[start : start + _CHUNK] == _NEWLINE).astype(np.int64) + start + 1
        for start in range(0, size, _CHUNK)
    ]
    bounds = np.concatenate([np.zeros(1, dtype=np.int64), *found])
    if bounds[-1] != size:
        bounds = np.append(bounds, size)
    return bounds, np.asarray(content[bounds[:-1]])
