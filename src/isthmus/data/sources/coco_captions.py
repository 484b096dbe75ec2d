"""COCO's captions: one object with `images` and `annotations`, which are joined by image."""

from collections.abc import Iterator
from typing import Any, final

from isthmus.data.sources.base import Document, Row, expect


@final
class CocoCaptions(Document):
    """Reads `captions_train2014.json` and what has its form, such as NoCaps.

    A row is `{"id": 1, "image_id": 9, "caption": text}` among the `annotations`, and its image
    `{"id": 9, "file_name": path}` among the `images`. It becomes a row of the layout `captions`.
    """

    keys = frozenset({"images", "annotations"})

    def rows(self, document: Row) -> Iterator[Any]:
        """Yields a row for each caption; what is no caption of an image is yielded as it is."""
        files = {
            str(image.get("id")): image.get("file_name")
            for image in expect(document["images"], list, "images")
            if isinstance(image, dict)
        }
        for annotation in expect(document["annotations"], list, "annotations"):
            if isinstance(annotation, dict) and "caption" in annotation:
                yield {**annotation, "image": files.get(str(annotation.get("image_id")))}
            else:
                yield annotation


DOCUMENT = CocoCaptions
