"""The contracts of data: files become rows, and a row becomes a sample, or facts about its images.

A `Source` knows the rows of files whose content tells their layout; a `Document` joins the lists of
such a file to rows. A `Reader` opens what has to be named: data sets of several files, archives,
tables, and files whose layout is told by a field map.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from isthmus.data.facts import Item
from isthmus.data.faults import Fault
from isthmus.data.media import exists
from isthmus.data.sample import Sample

Row = Mapping[str, Any]


class Source(ABC):
    """Reads the rows of one layout; errors say what is wrong with the row, not where it lies."""

    keys: ClassVar[tuple[str, ...]]
    """The keys by which a row of this layout is known; it has one of them."""

    @abstractmethod
    def sample(self, row: Row, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row.

        Args:
            row: the decoded row; it has one of `keys`.
            name: id of the sample when the row gives none.
            image_root: folder in which every image lies.

        Raises:
            Fault: the row is not of this layout, or breaks a rule of `Sample`.
        """


class Document(ABC):
    """Reads a file that is one JSON object, whose lists have to be joined to rows."""

    keys: ClassVar[frozenset[str]]
    """The keys by which such an object is known."""

    @abstractmethod
    def rows(self, document: Row) -> Iterator[Any]:
        """Yields the rows, each of a layout that has a source.

        Args:
            document: the decoded object; it has all `keys`.

        Raises:
            Fault: a list is of another type.
        """


class Reader(ABC):
    """Reads a data set that lies in one file or in several."""

    files: ClassVar[tuple[str, ...]] = ("file",)
    """Names of its files, as a mixture gives them."""

    @abstractmethod
    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the rows in order; what is wrong with one of them is for `content` to say.

        A sequence that reads a row when it is asked for keeps large files out of memory.

        Args:
            files: a path for each name of `files`.

        Raises:
            ValueError: a file does not exist, or is not of this layout as a whole.
        """

    @abstractmethod
    def content(self, row: Any, *, name: str, image_root: Path) -> Sample | Item:
        """Returns what a row says.

        Args:
            row: one of `rows`.
            name: id of the row when it has none of its own.
            image_root: folder in which every image lies.

        Raises:
            Fault: the row is not of this layout, or breaks a rule of `Sample` or `Item`.
            Filtered: the row is not asked for, such as one of another split.
        """


def image_paths(names: Any, image_root: Path) -> tuple[Path, ...]:
    """Returns the absolute paths of images named in a row, one name or a list of them.

    Raises:
        Fault: a name is no string, leaves the image root, or names no file.
    """
    return tuple(_image_path(name, image_root) for name in _as_list(names))


def expect(value: Any, kind: type[str] | type[list] | type[dict], what: str) -> Any:
    """Returns the value when it is of the kind.

    Raises:
        Fault: it is not.
    """
    if not isinstance(value, kind):
        raise Fault("wrong_layout", f"{what} is {value!r:.80}; expected {_NAMES[kind.__name__]}")
    return value


_NAMES = {"str": "a string", "list": "a list", "dict": "an object"}


def _as_list(names: Any) -> list[Any]:
    if names is None:
        return []
    return names if isinstance(names, list) else [names]


def _image_path(name: Any, image_root: Path) -> Path:
    path = image_root / expect(name, str, "an image")
    try:
        # Where links lead: one inside an archive of a stranger's may lead anywhere.
        root, file = image_root.resolve(), path.resolve()
        is_inside = file.is_relative_to(root)
        is_there = is_inside and exists(file)
    except Fault:  # of an archive that would hold it
        raise
    except (OSError, ValueError, RuntimeError):  # no name that a file could have
        is_inside, is_there = True, False
    if not is_inside:
        raise Fault(
            "outside_image_root",
            f"the image {name!r} leaves the image root {image_root}; move it inside, or name a "
            "folder that holds it, and all others, with --image-root",
        )
    if not is_there:
        raise Fault("image_missing", f"the image {name!r} is not in the image root {image_root}")
    return file
