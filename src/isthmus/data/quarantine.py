"""Rows that are not learned from, kept in a file of a run's folder; each stands there once."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import final

QUARANTINE_FILE = "quarantine.jsonl"


@final
@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that is not used."""

    id: str
    file: str
    row: int
    """Number of the row or line, from 1; 0 where several were merged."""
    reason: str
    """Kind of the fault."""
    message: str
    """What is wrong, and what would mend it."""


def counts_of(rejected: Iterable[Rejected]) -> dict[str, int]:
    """Returns how many rows are rejected for each reason, the most frequent first."""
    return dict(Counter(each.reason for each in rejected).most_common())


@final
class Quarantine:
    """The rejected rows of a run; several threads and processes may add to it."""

    def __init__(self, folder: Path | None):
        """Goes on with the file of a folder; None keeps the rows in memory alone."""
        self._path = None if folder is None else folder / QUARANTINE_FILE
        self._lock = Lock()
        there = self._path.read_text(encoding="utf-8") if self._path and self._path.exists() else ""
        self._lines = set(there.splitlines())

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Adds rows; those that are there already are not written again."""
        with self._lock:
            lines = dict.fromkeys(json.dumps(asdict(each)) for each in rejected)
            new = [line for line in lines if line not in self._lines]
            self._lines.update(new)
            if new and self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # One write, so that lines of several processes do not mix.
                with self._path.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{line}\n" for line in new))
