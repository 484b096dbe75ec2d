"""MDETR's form of RefCOCO: the n-th of `images` has a phrase, the n-th of `annotations` its box."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, final

from isthmus.data.facts import Item, Located
from isthmus.data.faults import Fault
from isthmus.data.sources._files import decoded, read_object
from isthmus.data.sources._values import box, check_template, filled, size, text
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class Mdetr(Reader):
    """Reads `finetune_refcoco_train.json` and its like; a row is a phrase.

    An image is there once for each phrase, as `{"id": 1, "file_name": ..., "height": ...,
    "width": ..., "caption": ...}`, and the annotation at the same place has `image_id` 1 and the
    `bbox`, left, top, width and height.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    image: str = "{file_name}"
    """Template of an image's path, of what `images` tells of it."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the pairs of an image and an annotation; see `Reader.rows`."""
        found = read_object(files["file"], "images", "annotations")
        pairs = zip_longest(found["images"], found["annotations"])
        return [{"image": image, "annotation": annotation} for image, annotation in pairs]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a phrase with its box; see `Reader.content`."""
        row = decoded(row)
        if row["image"] is None or row["annotation"] is None:
            raise Fault("no_partner", "there are not as many annotations as images")
        image = expect(row["image"], dict, "an image")
        annotation = expect(row["annotation"], dict, "an annotation")
        if annotation.get("image_id") != image.get("id"):
            raise Fault(
                "no_partner",
                f"beside the image {image.get('id')!r:.80} is an annotation of the image "
                f"{annotation.get('image_id')!r:.80}; expected images and annotations in one order",
            )
        return Item(
            id=text(image.get("id"), "id"),
            images=image_paths(filled(self.image, image), image_root),
            facts=(
                Located(
                    phrase=text(image.get("caption"), "caption"),
                    box=box(annotation.get("bbox"), "bbox", "xywh"),
                    size=size(image.get("width"), image.get("height")),
                ),
            ),
            task="region",
        )


READER = Mdetr
