"""Tar files read in place: where each member lies, so that one is read without the others.

Finding out takes a pass over all headers, so it is done once and kept in the cache, from where it
is memory-mapped: thousands of shards cost no memory, and a later run does not read their headers.
"""

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path, PurePosixPath
from typing import final
from uuid import uuid4

import numpy as np
from jaxtyping import Int64

from isthmus.config import DIGEST_LENGTH
from isthmus.data.cache import cache_root
from isthmus.data.faults import Fault

COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
"""First bytes of compressed files, and what unpacks them."""

_NAME, _SAMPLE, _HEADER, _OFFSET, _SIZE = range(5)
"""Rows of an index, whose columns are members: a hash of the name, the first header of the sample
and that of the member, and where its content begins and how long it is."""
_ALONE = -1
"""Stands for the sample of a member that belongs to none."""
_INDEX_FORMAT = 1
"""Goes up when an index of before cannot be used."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file inside a tar file."""

    name: str
    """Path within the archive, without `.` and `..`."""
    offset: int
    """Where its content begins. Units: bytes."""
    size: int
    """Units: bytes."""


def is_archive(path: Path) -> bool:
    """Returns whether a file is a tar file, by its first header.

    Raises:
        Fault: it is compressed.
    """
    with path.open("rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    for magic, tool in COMPRESSED.items():
        if start.startswith(magic):
            raise Fault(
                "archive_damaged",
                f"{path} is compressed, and no member can be read without unpacking all before it; "
                f"unpack it with {tool}, since images hardly get smaller by compression",
            )
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def find(path: Path, name: str) -> Member | None:
    """Returns the member of a name, the last one where there are several; None if there is none."""
    index, number = _index_of(path), _hash(name)
    names = index[_NAME]
    place = int(np.searchsorted(names, number, side="right")) - 1
    if place < 0 or names[place] != number:
        return None
    return Member(name=name, offset=int(index[_OFFSET, place]), size=int(index[_SIZE, place]))


def read(path: Path, member: Member) -> bytes:
    """Returns the content of a member.

    The file is opened for each, so threads and forked processes share no position in it.

    Raises:
        Fault: the archive ends within it, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(member.offset)
            content = file.read(member.size)
    except OSError as error:
        raise Fault("archive_damaged", f"{path} cannot be read: {error}") from error
    check_whole(path, member)
    return content


def check_whole(path: Path, member: Member) -> None:
    """Checks that a member is there to its end.

    Raises:
        Fault: the archive ends within it.
    """
    if member.offset + member.size > path.stat().st_size:
        raise Fault("archive_damaged", f"{path} ends within {member.name}; get the archive again")


def samples(path: Path) -> Int64[np.ndarray, "samples 2"]:
    """Returns the first and the last header of each sample of a shard, in order.

    A sample is a run of members whose paths are the same up to the first dot of the file's name.
    Where the archive is torn there is one more, which cannot be read.
    """
    index = _index_of(path)
    _, first, header, *_ = index[:, np.argsort(index[_HEADER])]
    first, header = first[first != _ALONE], header[first != _ALONE]
    is_last = np.append(first[1:] != first[:-1], True)[: len(first)]
    return np.stack([first[is_last], header[is_last]], axis=1)


def members(path: Path, first: int, last: int) -> list[Member]:
    """Returns the members of a sample.

    Args:
        path: the archive.
        first: where the header of its first member begins.
        last: where that of its last begins.

    Raises:
        Fault: the archive is torn there, or was changed.
    """
    found = []
    for info in _headers(path, first):
        if (name := _inside(info)) is not None and sample_of(name) is not None:
            found.append(Member(name=name, offset=info.offset_data, size=info.size))
        if info.offset >= last:
            break
    if not found:
        raise Fault("archive_damaged", f"{path} was changed while it was read; start again")
    return found


def sample_of(name: str) -> str | None:
    """Returns what the names of the members of a sample begin with; None for a file beside them."""
    folder, slash, file = name.rpartition("/")
    key, dot, _ = file.partition(".")
    is_beside = not key or not dot or key.startswith("__") or "/." in f"/{folder}"
    return None if is_beside else f"{folder}{slash}{key}"


def _index_of(path: Path) -> Int64[np.ndarray, "rows members"]:
    stat = path.stat()
    return _index(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _index(path: Path, size: int, mtime_ns: int) -> Int64[np.ndarray, "rows members"]:
    about = f"{_INDEX_FORMAT} {path} {size} {mtime_ns}"
    digest = sha256(about.encode(errors="surrogateescape")).hexdigest()[:DIGEST_LENGTH]
    kept = cache_root() / "archives" / f"{digest}.npy"
    with suppress(OSError, ValueError):  # not there, or cut by a full disk
        return np.load(kept, mmap_mode="r")
    index = _made(path, size)
    with suppress(OSError):  # made again another time, where nothing can be kept
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f"{digest}.{uuid4().hex}.npy")
        np.save(unfinished, index)
        unfinished.replace(kept)
    return index


def _made(path: Path, size: int) -> Int64[np.ndarray, "rows members"]:
    """Returns the members of a file in the order of their hashes, of equal ones as they lie."""
    rows: list[tuple[int, int, int, int, int]] = []
    end, sample, first = 0, None, _ALONE
    try:
        for info in _headers(path):
            end = info.offset_data + info.size
            if (name := _inside(info)) is None:
                continue
            of = _ALONE
            if (key := sample_of(name)) is not None:
                first = first if key == sample else info.offset
                sample, of = key, first
            rows.append((_hash(name), of, info.offset, info.offset_data, info.size))
    except Fault:
        if end <= size:  # else the last member shows it
            torn = end + -end % tarfile.BLOCKSIZE
            rows.append((_hash(""), torn, torn, torn, 0))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return np.ascontiguousarray(columns[:, np.argsort(columns[_NAME], kind="stable")])


def _headers(path: Path, start: int = 0) -> Iterator[tarfile.TarInfo]:
    """Yields what the headers from one on tell.

    Raises:
        Fault: one cannot be read, or the mark at the end is missing.
    """
    why: object = "its end is missing"
    try:
        with path.open("rb") as file:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined] # it would keep all of them
                    if info.size < 0 or tar.offset <= info.offset:  # would go in circles
                        raise tarfile.ReadError("a size is negative")
                    yield info
                file.seek(tar.offset)
                if file.read(tarfile.BLOCKSIZE) == tarfile.NUL * tarfile.BLOCKSIZE:
                    return
    except Exception as error:  # headers of noise raise anything
        why = error
    raise Fault("archive_damaged", f"{path} is torn ({why}); get the archive again")


def _inside(info: tarfile.TarInfo) -> str | None:
    """Returns the path of a plain file that stays inside; None for whatever else a tar can hold."""
    path = PurePosixPath(info.name)
    if not info.isreg() or info.issparse() or path.is_absolute() or ".." in path.parts:
        return None
    return str(path)


def _hash(name: str) -> int:
    digest = blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
