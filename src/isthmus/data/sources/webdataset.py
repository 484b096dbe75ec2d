"""webdataset's tar shards, as img2dataset writes them: `0012.jpg` beside `0012.txt` and `.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, final

import numpy as np

from isthmus.data import archive
from isthmus.data.facts import Captioned, Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.rows import LazyRows
from isthmus.data.sample import Sample
from isthmus.data.sources import content_of_row, layouts
from isthmus.data.sources._files import decoded
from isthmus.data.sources._listed import listed
from isthmus.data.sources._values import text
from isthmus.data.sources.base import Reader, image_paths

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Endings of images, whatever their content is."""
MAX_TEXT_BYTES = 1 << 24
"""Most bytes of a text. Nobody learns from a longer one, and it is read whole."""


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a sample lies."""

    shard: Path
    first: int
    """Where the header of its first member begins. Units: bytes."""
    last: int
    """Where that of its last begins."""


@final
@dataclass(frozen=True, kw_only=True)
class WebDataset(Reader):
    """Reads shards, of which `file` is one, a folder, or a pattern as `{00000..00012}.tar`.

    Members that follow one another and have the same path up to the first dot of the file's name
    are a sample. An image with a `txt`, or with a `json` that has a `caption`, is told by it, by
    the `json` where there are both. A `json` of another layout, such as `messages` or
    `conversations`, is read as a row of it, and the images of the sample are its images, in order.
    Where `status` is there and no `success`, the row is filtered. A torn shard yields what lies
    before the tear, and one fault for the sample that it goes through.

    Differs: LAVIS draws one of two captions; here each of several is an answer.
    """

    captions: Literal["answers", "facts"] = "answers"
    """Whether a caption answers to the image alone, or is a fact that templates ask for; so that
    an image may stand still for a clip, it has to be a fact."""

    def rows(self, files: Mapping[str, Path]) -> Sequence[Place]:
        """Returns where the samples are, 16 bytes of memory for each; see `Reader.rows`."""
        shards = listed(files["file"], (".tar",))
        are_archives = [archive.is_archive(shard) for shard in shards]
        if not any(are_archives):
            raise ValueError(f"{files['file']} is no tar file; expected shards of webdataset")
        return _Places(shards)

    def content(self, row: Any, *, name: str, image_root: Path) -> Sample | Item:
        """Returns the sample of members, whose images stay where they are; see `Reader.content`."""
        members = archive.members(row.shard, row.first, row.last)
        key = archive.sample_of(members[0].name) or ""
        for member in members:
            _check(row.shard, member)
        told = _told(row.shard, members, key)
        images = [m.name for m in members if PurePosixPath(m.name).suffix.lower() in IMAGES]
        if images:  # under either key by which layouts look for them
            told |= {"image": images[0] if len(images) == 1 else images, "images": images}
        if self.captions == "facts" and "caption" in told:
            said = told["caption"] if isinstance(told["caption"], list) else [told["caption"]]
            return Item(
                id=str(told.get("id", key)),
                images=image_paths(told["images"], row.shard),
                facts=tuple(Captioned(text=text(each, "a caption")) for each in said),
                task="caption",
            )
        return content_of_row({"id": key, **told}, name=name, image_root=row.shard)


@final
class _Places(LazyRows[Place]):
    """The samples of shards in order; a torn one ends with a place that cannot be read."""

    def __init__(self, shards: Sequence[Path]):
        self._shards = shards
        found = [archive.samples(shard) for shard in shards]
        self._headers = np.concatenate(found)
        self._ends = np.cumsum([len(each) for each in found])

    def __len__(self) -> int:
        return len(self._headers)

    def read(self, index: int) -> Place:
        """Returns where a sample lies; see `LazyRows.read`."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        first, last = self._headers[index]
        return Place(self._shards[shard], int(first), int(last))


def _check(shard: Path, member: archive.Member) -> None:
    """Checks that a name leads to this member, and that it is there as a whole."""
    if archive.find(shard, member.name) != member:
        raise Fault(
            "wrong_layout",
            f"{shard} has another {member.name} further on; give each sample a name of its own",
        )
    archive.check_whole(shard, member)


def _told(shard: Path, members: Sequence[archive.Member], key: str) -> dict[str, Any]:
    """Returns the row that the texts of a sample make.

    Raises:
        Fault: there is no text, it is no UTF-8, too long, or no JSON object.
        Filtered: the image could not be got when the shard was made.
    """
    texts = {m.name.removeprefix(f"{key}.").lower(): m for m in members}
    told: dict[str, Any] = {}
    if "json" in texts:
        row = decoded(_text(shard, texts["json"]).encode())
        told = {k: v for k, v in row.items() if v is not None}
    if told.get("status", "success") != "success":
        raise Filtered("status")
    if not told.keys() & layouts().keys():
        if "txt" not in texts:
            raise Fault("no_answer", f"{key} in {shard} has no txt, and no json with a caption")
        told["caption"] = _text(shard, texts["txt"])
    if "caption" in told and IMAGES.isdisjoint(f".{ending}" for ending in texts):
        raise Fault("image_missing", f"{key} in {shard} has no image, such as {key}.jpg")
    return told


def _text(shard: Path, member: archive.Member) -> str:
    if member.size > MAX_TEXT_BYTES:
        raise Fault(
            "too_long",
            f"{member.name} in {shard} has {member.size} bytes; expected at most {MAX_TEXT_BYTES}",
        )
    try:
        return archive.read(shard, member).decode()
    except UnicodeDecodeError as error:
        raise Fault("broken_json", f"{member.name} in {shard} is no UTF-8 ({error})") from error


READER = WebDataset
