"""Captions: `caption` of an `image`, one or several, as LAVIS writes them."""

from pathlib import Path
from typing import Any, final

from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.sources.base import Row, Source, expect, image_paths


@final
class CaptionSource(Source):
    """Reads the row of a caption file.

    A row is `{"image": path, "caption": text or [text, ...], "id": ..., "task": ...}`; `id` and
    `task` may be absent. Nothing is asked: the image stands alone, and each caption is an answer.
    """

    keys = ("caption",)

    def sample(self, row: Row, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row; see `Source.sample`."""
        said: Any = row["caption"]
        captions = [said] if isinstance(said, str) else expect(said, list, "caption")
        messages: list[Message] = []
        for number, caption in enumerate(captions):
            messages += [
                Message("user", (Text(""),) if number else (ImagePart(),)),
                Message("assistant", (Text(expect(caption, str, "a caption")),)),
            ]
        return Sample(
            id=str(row.get("id", name)),
            messages=tuple(messages),
            images=image_paths(expect(row.get("image"), str, "image"), image_root),
            task=expect(row.get("task") or "caption", str, "task"),
        )


SOURCE = CaptionSource
