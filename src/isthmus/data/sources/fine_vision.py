"""FineVision's and the Cauldron's layout: `texts` of `user` and `assistant`, beside `images`."""

from pathlib import Path
from typing import Any, final

from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.sources.base import Row, Source, expect, image_paths


@final
class FineVisionSource(Source):
    """Reads the row of a file that was made of such a table, with its images saved as files.

    A row is `{"images": path or [path, ...], "texts": [{"user": ..., "assistant": ...}]}`; `source`
    names the data set, and becomes the task. All images are shown before the first question. The
    ratings that some rows carry are kept in `meta`, and choose nothing.
    """

    keys = ("texts",)

    def sample(self, row: Row, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row; see `Source.sample`."""
        images = image_paths(row.get("images"), image_root)
        messages: list[Message] = []
        for value in expect(row["texts"], list, "texts"):
            turn = expect(value, dict, "a text")
            asked = Text(expect(turn.get("user"), str, "user"))
            shown = () if messages else tuple(ImagePart() for _ in images)
            messages += [
                Message("user", (*shown, asked)),
                Message("assistant", (Text(expect(turn.get("assistant"), str, "assistant")),)),
            ]
        ratings: dict[str, Any] = {k: v for k, v in row.items() if k.endswith("_ratings")}
        return Sample(
            id=str(row.get("id", name)),
            messages=tuple(messages),
            images=images,
            task=expect(row.get("source") or "", str, "source"),
            meta=ratings,
        )


SOURCE = FineVisionSource
