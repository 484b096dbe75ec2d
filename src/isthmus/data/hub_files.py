"""Files on the hub that are read where they lie, part by part; each has a path as if it were here.

`hf://datasets/owner/name@revision/train.parquet` is the path
`/hf:/datasets/owner/name@revision/train.parquet`. A revision is a commit, so that what such a path
names never changes. Only a reader that was told to stream makes one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_SCHEME = "hf://"
_ROOT = Path("/hf:")


def path_of(url: str) -> Path:
    """Returns the path of a file on the hub.

    Raises:
        ValueError: the address is of another place.
    """
    if not url.startswith(_SCHEME):
        raise ValueError(f"{url} does not lie on the hub; expected {_SCHEME}owner/name/...")
    return _ROOT / url.removeprefix(_SCHEME)


def is_on_hub(path: Path) -> bool:
    """Returns whether a path is that of a file on the hub, or of what is inside one."""
    return path.is_relative_to(_ROOT)


def file_of(path: Path) -> Path | None:
    """Returns the parquet file on the hub that something is inside of; None if it is in no such."""
    if not is_on_hub(path):
        return None
    return next((file for file in path.parents if file.suffix == ".parquet"), None)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file, here or on the hub, of which no more is got than is read.

    Raises:
        OSError: it is not there, or the hub does not answer.
    """
    if not is_on_hub(path):
        with path.open("rb") as file:
            yield file
        return
    from huggingface_hub import HfFileSystem

    # Parquet knows which parts it wants; reading ahead would get pictures that nobody asked for.
    name = str(path.relative_to(_ROOT))
    with HfFileSystem().open(name, "rb", cache_type="none") as file:
        yield file


def stat_of(path: Path) -> tuple[int, int]:
    """Returns size and time of the last change of a file; 0 of one on the hub, which never changes.

    Units: bytes and nanoseconds.

    Raises:
        OSError: it is not there.
    """
    if is_on_hub(path):
        return 0, 0
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
