"""Images wherever they lie: a path names a file, or what is inside one.

`shards/00000.tar/000000012.jpg` is a member of a tar file; `tables/train.parquet/17/image`, or
`.../17/images/0` where a cell holds several, is a picture in a table, counted from 0. What a file
is shows by its content, whatever it is called. A real file wins, so a folder may be called `x.tar`.
"""

from functools import lru_cache
from hashlib import file_digest, sha256
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import Literal

from isthmus.data import archive, hub_files, table
from isthmus.data.faults import Fault
from isthmus.data.video import parse_frame_path

MAX_BYTES = 1 << 28
"""Most bytes of a picture inside another file. It is read whole before anybody knows what it is;
a picture of as many pixels as are allowed is smaller, unless it is not compressed at all."""

Kind = Literal["archive", "table", "neither"]


def exists(path: Path) -> bool:
    """Returns whether there is such an image, as far as it shows without reading it.

    Raises:
        Fault: it would be inside a file that is torn or compressed.
        ValueError: it would be inside a table, and pyarrow is not installed.
    """
    if _is_file(path):
        return True
    if (place := _place(path)) is None:
        return False
    file, inner = place
    if _kind(file) == "table":
        return table.has(file, inner)
    return _kind(file) == "archive" and archive.find(file, "/".join(inner)) is not None


def stat_of(path: Path) -> tuple[int, int]:
    """Returns size and time of the last change of an image, which tell whether it is the same.

    For a member of an archive they are its own size and the time of the archive; for a cell of a
    table both are the table's. Units: bytes and nanoseconds.

    Raises:
        Fault: there is no such image.
    """
    place = None if _is_file(path) else _place(path)
    file, inner = place or (path, ())
    try:
        size, mtime_ns = hub_files.stat_of(file)
    except OSError as error:
        raise _missing(path) from error
    if inner and _kind(file) == "archive":
        size = _member(file, inner, path).size
    return size, mtime_ns


def opened(path: Path) -> Path | BytesIO:
    """Returns what Pillow reads an image from: its own file, or its content.

    Raises:
        Fault: there is no such image, it is empty, or is too large to be read whole.
    """
    if not _is_file(path):
        return BytesIO(content_of(path))
    if path.stat().st_size == 0:
        raise Fault("image_empty", f"the image {path} is an empty file; save it again")
    return path


def content_of(path: Path) -> bytes:
    """Returns the bytes of an image.

    Raises:
        Fault: there is no such image, it is empty, or is too large to be read whole.
    """
    if _is_file(path):
        return path.read_bytes()
    file, inner = _place(path) or (path, ())
    match _kind(file) if inner else "neither":
        case "table" if table.has(file, inner):
            content = table.picture(file, inner)
            _check_size(content.size, path)
            return content.to_pybytes()
        case "archive":
            member = _member(file, inner, path)
            _check_size(member.size, path)
            return archive.read(file, member)
    raise _missing(path)


def digest_of(path: Path) -> str:
    """Returns a name of the content of an image, or of any file.

    That of a frame is its clip's, and the number.

    Raises:
        Fault: there is no such image, it is empty, or is too large to be read whole.
    """
    if _is_file(path):
        return _digest_of_file(path)
    if frame := parse_frame_path(path):
        clip, index = frame
        return f"{_digest_of_clip(clip, *stat_of(path))}-{index}"
    return sha256(content_of(path)).hexdigest()


@lru_cache(1024)
def _digest_of_clip(clip: Path, size: int, mtime_ns: int) -> str:
    return _digest_of_file(clip)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()


def _place(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Returns the file that something is inside of, and the names that lead to it from there."""
    if (file := hub_files.file_of(path)) is not None:
        return file, path.relative_to(file).parts
    for file in path.parents:
        try:
            is_file = S_ISREG(file.stat().st_mode)
        except (OSError, ValueError):  # not there, or no name that a file could have
            continue
        return (file, path.relative_to(file).parts) if is_file else None
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a name can be
        return False


def _kind(file: Path) -> Kind:
    return _kind_of(file, *hub_files.stat_of(file))


@lru_cache(1024)
def _kind_of(file: Path, size: int, mtime_ns: int) -> Kind:
    if table.is_table(file):
        return "table"
    return "archive" if archive.is_archive(file) else "neither"


def _member(file: Path, inner: tuple[str, ...], path: Path) -> archive.Member:
    member = archive.find(file, "/".join(inner))
    if member is None:
        raise _missing(path)
    return member


def _check_size(size: int, path: Path) -> None:
    if size == 0:
        raise Fault("image_empty", f"the image {path} has no bytes; save it again")
    if size > MAX_BYTES:
        raise Fault(
            "image_too_large",
            f"the image {path} has {size} bytes; expected at most {MAX_BYTES}; store it smaller",
        )


def _missing(path: Path) -> Fault:
    return Fault("image_missing", f"there is no image {path}")
