"""The size of all feature stores together, and what goes when it would pass a limit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import final

from isthmus.training.feature_leases import UNFINISHED, living

GIB = 1 << 30
ABOUT = "about.json"
"""File in the folder of a store that says what it holds; it is no shard."""
_PASSING = (".claim", ".use", UNFINISHED)
"""Endings of files that somebody will tidy up."""


@final
@dataclass(frozen=True, order=True)
class _Shard:
    last_used: float
    name: str
    num_bytes: int
    files: tuple[Path, ...]


def make_room(root: Path, *, limit: int, coming: int) -> int:
    """Deletes the shards of any store that no living run uses, the longest unused first.

    The caller is `alone` in the root. What others are writing at the time is not counted, so runs
    that fill stores at once may pass the limit by a shard each.

    Args:
        root: folder of all stores.
        limit: bytes that they may take together.
        coming: bytes to make room for.

    Returns:
        How many shards were deleted.

    Raises:
        ValueError: too much is in use; nothing was deleted.
    """
    shards = [shard for folder in _stores(root) for shard in _shards(folder)]
    uses = [names for folder in _stores(root) for names in living(folder, "use").values()]
    held = {name for names in uses for name in names}
    in_use = sum(shard.num_bytes for shard in shards if shard.name in held)
    if in_use + coming > limit:
        raise ValueError(
            f"the feature stores may take {limit / GIB:.3g} GiB; living runs, this one included, "
            f"use {in_use / GIB:.3g} GiB of them, and {coming / GIB:.3g} GiB are to come; wait for "
            "the other runs, or raise feature_store_gib"
        )
    total = sum(shard.num_bytes for shard in shards)
    deleted = 0
    for shard in sorted(shard for shard in shards if shard.name not in held):
        if total + coming <= limit:
            break
        for file in shard.files:
            file.unlink()
        total -= shard.num_bytes
        deleted += 1
    return deleted


def _stores(root: Path) -> Iterator[Path]:
    return filter(Path.is_dir, root.iterdir())


def _shards(folder: Path) -> Iterator[_Shard]:
    """Yields what lies in a store by name; a shard of the earlier format has two files of one."""
    files = (p for p in folder.iterdir() if p.name != ABOUT and p.suffix not in _PASSING)
    for name, group in groupby(sorted(files, reverse=True), key=lambda path: path.stem):
        parts = tuple(group)
        found = [path.stat() for path in parts]
        yield _Shard(
            last_used=max(status.st_mtime for status in found),
            name=name,
            num_bytes=sum(status.st_size for status in found),
            files=parts,
        )
