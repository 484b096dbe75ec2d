"""Visual Genome's regions: phrases of boxes, beside the sizes of the pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, final

from isthmus.data.facts import Item, Located
from isthmus.data.faults import Fault
from isthmus.data.sources._files import decoded, read_json
from isthmus.data.sources._values import box, check_template, filled, size, text
from isthmus.data.sources.base import Reader, expect, image_paths
from isthmus.geometry.boxes import intersection

_IDS = ("image_id", "id")
"""Releases call the number of an image by one or the other."""


@final
@dataclass(frozen=True, kw_only=True)
class VisualGenomeRegions(Reader):
    """Reads `region_descriptions.json` with `image_data.json`; a row is a region.

    A region is `{"region_id": 7, "phrase": ..., "x": ..., "y": ..., "width": ..., "height": ...}`
    among the `regions` of an image. Some leave their picture: a box is cut at its edges, and one of
    which nothing is left is a fault.
    """

    files: ClassVar[tuple[str, ...]] = ("regions", "image_data")

    image: str = "{folder}/{image_id}.jpg"
    """Template of an image's path. `folder`, `VG_100K` or `VG_100K_2`, is taken from its `url`."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the regions of all images, each with the data of its image; see `Reader.rows`."""
        images, told = _list(files["image_data"]), _list(files["regions"])
        data = {_id(image): image for image in images if isinstance(image, dict)}
        return [row for image in told for row in _regions(image, data)]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a region; see `Reader.content`."""
        row = decoded(row)
        region = expect(row.get("region"), dict, "a region")
        image = row["image"]
        if image is None:
            raise Fault("no_partner", f"no image has the number {row['image_id']!r:.80}")
        extent = size(image.get("width"), image.get("height"))
        if extent is None:
            raise Fault("wrong_layout", f"the image {row['image_id']!r:.80} lacks width or height")
        edges = [region.get(key) for key in ("x", "y", "width", "height")]
        place = intersection(box(edges, "a region", "xywh"), (0.0, 0.0, *map(float, extent)))
        if place is None:
            raise Fault("wrong_box", f"the region {edges} has no area within its picture, {extent}")
        folder = PurePosixPath(text(image.get("url") or "", "url")).parent.name
        path = filled(self.image, {**image, "folder": folder, "image_id": row["image_id"]})
        return Item(
            id=text(region.get("region_id", region.get("id", name)), "region_id"),
            images=image_paths(path, image_root),
            facts=(Located(phrase=text(region.get("phrase"), "phrase"), box=place, size=extent),),
            task="region",
        )


def _list(file: Path) -> list[Any]:
    found = read_json(file)
    if not isinstance(found, list):
        raise ValueError(f"{file} holds {found!r:.80}; expected a list of images")
    return found


def _id(image: Mapping[str, Any]) -> str:
    return str(next((image[key] for key in _IDS if key in image), None))


def _regions(image: Any, data: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the regions of an image; what is no image is one row, which `content` refuses."""
    if not isinstance(image, dict) or not isinstance(image.get("regions"), list):
        yield image
        return
    number = _id(image)
    for region in image["regions"]:
        yield {"region": region, "image_id": number, "image": data.get(number)}


READER = VisualGenomeRegions
