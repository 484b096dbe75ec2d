"""What living processes hold of a folder that they share.

A lease is a file of names, one a line, on which its owner keeps a lock of the kernel's. However the
owner ends, the lock ends with it. So no clock and no process number has to tell the living from the
dead, on one machine or on several whose file system shares such locks, as NFS does. Leases are
taken, added to and looked at in `alone`, and may end at any time; whoever looks next sweeps up.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from io import TextIOWrapper
from pathlib import Path
from typing import Literal, final
from weakref import finalize

Kind = Literal["claim", "use"]
"""A claim is on what its owner is about to write, a use on what it reads."""
UNFINISHED = ".unfinished"
"""Ending of the file that the owner of a lease is writing, of the lease's own name."""


@final
class Lease:
    """Names that this process holds, until it releases them, drops the lease, or ends."""

    def __init__(self, folder: Path, name: str, kind: Kind, held: Iterable[str] = ()):
        """Takes a lease.

        Args:
            folder: which the names are about.
            name: of the lease, which no other has.
            kind: of the lease.
            held: the first names.
        """
        self.name = name
        self._file = (folder / f"{name}.{kind}").open("x", encoding="utf-8")
        flock(self._file, LOCK_EX)
        self.release = finalize(self, _end, self._file)
        self.add(held)

    def add(self, held: Iterable[str]) -> None:
        """Holds further names."""
        self._file.writelines(f"{name}\n" for name in held)
        self._file.flush()


def living(folder: Path, kind: Kind) -> dict[Path, list[str]]:
    """Returns the leases whose owners live, by file, with the names that they hold."""
    found = {}
    for path in sorted(folder.glob(f"*.{kind}")):
        with path.open(encoding="utf-8") as file:
            try:
                flock(file, LOCK_SH | LOCK_NB)
            except BlockingIOError:
                found[path] = file.read().splitlines()
            else:
                path.with_suffix(UNFINISHED).unlink(missing_ok=True)
                path.unlink()
    return found


def wait_for(lease: Path) -> None:
    """Returns when the owner of a lease released it or ended."""
    with suppress(FileNotFoundError), lease.open() as file:
        flock(file, LOCK_SH)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keeps out everybody else who asks to be alone in a folder; so be brief."""
    root.mkdir(parents=True, exist_ok=True)
    file = (root / "lock").open("a")
    flock(file, LOCK_EX)
    try:
        yield
    finally:
        _end(file)


def _end(file: TextIOWrapper) -> None:
    flock(file, LOCK_UN)  # closing is not enough if a process was forked meanwhile
    file.close()
