"""RefCOCO as a table with corners: `bbox` with `captions`, and the COCO annotation as JSON text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final, get_args

from isthmus.data.facts import Item, Located
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources._files import decoded, read_rows
from isthmus.data.sources._values import BoxForm, box, check_template, filled, size, text, texts
from isthmus.data.sources.base import Reader, expect, image_paths
from isthmus.geometry.boxes import Box, iou

_SAME = 0.99
"""Intersection over union of two boxes that are one, but for rounding."""


@final
@dataclass(frozen=True, kw_only=True)
class RefcocoXyxy(Reader):
    """Reads the rows of such a table, saved as JSON lines; a row is a box with its phrases.

    `raw_anns` and `raw_image_info` hold COCO's own objects as JSON text. Nothing in the name of
    `bbox` tells whether it holds corners, so it is compared with the annotation, whose box is known
    to be left, top, width and height.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    split: Literal["train", "validation", "test", "testB"] = "train"
    """`test` is RefCOCO's testA."""
    image: str = "{image_path}"
    """Template of an image's path, of the fields of the row."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the rows; see `Reader.rows`."""
        return read_rows(files["file"])

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a box with its phrases; see `Reader.content`."""
        row = decoded(row)
        if row.get("split") != self.split:
            raise Filtered("split")
        known = box(_held(row, "raw_anns").get("bbox"), "bbox of raw_anns", "xywh")
        info = _held(row, "raw_image_info")
        place, extent = (
            _checked(row.get("bbox"), known),
            size(info.get("width"), info.get("height")),
        )
        return Item(
            id=text(row.get("ref_id"), "ref_id"),
            images=image_paths(filled(self.image, row), image_root),
            facts=tuple(
                Located(phrase=phrase, box=place, size=extent)
                for phrase in texts(row.get("captions"), "captions")
            ),
            task="region",
        )


def _held(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Returns the object that a field holds as JSON text."""
    return decoded(expect(row.get(key), str, key).encode())


def _checked(value: Any, known: Box) -> Box:
    """Returns the box of a row, in whichever of the two forms it is that of the annotation."""
    for form in get_args(BoxForm):
        found = box(value, "bbox", form)
        if iou(found, known) >= _SAME:
            return found
    raise Fault(
        "wrong_box",
        f"bbox is {value!r:.80}, neither the corners nor the sides of {known}, as raw_anns has it",
    )


READER = RefcocoXyxy
