"""Karpathy's splits of COCO, Flickr30k and Flickr8k: images with their sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from isthmus.data.facts import Captioned, Item
from isthmus.data.faults import Filtered
from isthmus.data.sources._files import decoded, read_object
from isthmus.data.sources._values import text
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class Karpathy(Reader):
    """Reads `dataset_coco.json` and its like; a row is an image with all its captions.

    A row is `{"filename": "1.jpg", "split": "train", "imgid": 0, "sentences": [{"raw": ...}]}`; the
    ones of COCO have the folder of the image as `filepath`.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    split: Literal["train", "val", "test"] = "train"
    restval: bool = True
    """Whether the images that are `restval`, those of COCO's val2014 that neither validate nor
    test, belong to `train`; papers train on them."""

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the images; see `Reader.rows`."""
        return read_object(files["file"], "images")["images"]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns an image with its captions; see `Reader.content`."""
        row = decoded(row)
        asked = ("train", "restval") if self.restval and self.split == "train" else (self.split,)
        if row.get("split") not in asked:
            raise Filtered("split")
        folder, file = row.get("filepath"), text(row.get("filename"), "filename")
        sentences = expect(row.get("sentences"), list, "sentences")
        return Item(
            id=text(row.get("imgid", name), "imgid"),
            images=image_paths(
                f"{text(folder, 'filepath')}/{file}" if folder else file, image_root
            ),
            facts=tuple(
                Captioned(text=text(expect(each, dict, "a sentence").get("raw"), "raw"))
                for each in sentences
            ),
            task="caption",
            meta={"cocoid": row["cocoid"]} if "cocoid" in row else {},
        )


READER = Karpathy
