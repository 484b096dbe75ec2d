"""OBELICS: pages as two lists of one length, of which each place holds an image or a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from isthmus.data.faults import Fault
from isthmus.data.sample import Sample
from isthmus.data.sources._files import decoded, read_rows
from isthmus.data.sources._interleaved import conversation
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class Obelics(Reader):
    """Reads pages as JSON lines, with the images saved as files; a row is a page.

    A row is `{"images": [path or null, ...], "texts": [null or text, ...]}`. The published table
    has addresses where the paths are: nothing is fetched.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the pages; see `Reader.rows`."""
        return read_rows(files["file"])

    def content(self, row: Any, *, name: str, image_root: Path) -> Sample:
        """Returns a page as a conversation; see `Reader.content`."""
        row = decoded(row)
        images = expect(row.get("images"), list, "images")
        texts = expect(row.get("texts"), list, "texts")
        if len(images) != len(texts):
            raise Fault(
                "wrong_layout", f"{len(images)} images beside {len(texts)} texts; expected as many"
            )
        pieces: list[str | Path] = []
        for image, text in zip(images, texts, strict=True):
            if (image is None) == (text is None):
                raise Fault(
                    "wrong_layout",
                    f"a place holds the image {image!r:.80} and the text {text!r:.80}; expected "
                    "one of the two, and null",
                )
            if image is not None:
                pieces += image_paths(expect(image, str, "an image"), image_root)
            else:
                pieces.append(expect(text, str, "a text"))
        return conversation(pieces, name=str(row.get("id", name)), between="\n\n", meta={})


READER = Obelics
