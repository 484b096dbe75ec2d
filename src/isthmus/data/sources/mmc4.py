"""MMC4: pages as sentences, with images that are each matched to one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from isthmus.data.faults import Fault
from isthmus.data.sample import Sample
from isthmus.data.sources._files import decoded, read_rows
from isthmus.data.sources._interleaved import conversation
from isthmus.data.sources._values import whole
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class Mmc4(Reader):
    """Reads pages as JSON lines, with the images saved under their names; a row is a page.

    A row is `{"url": ..., "text_list": [sentence, ...], "image_info": [{"image_name": path,
    "matched_text_index": 0}, ...]}`. Images of one sentence keep their order.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    placement: Literal["before", "after"] = "before"
    """Where an image stands by the sentence it is matched to; Flamingo has it before."""

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the pages; see `Reader.rows`."""
        return read_rows(files["file"])

    def content(self, row: Any, *, name: str, image_root: Path) -> Sample:
        """Returns a page as a conversation; see `Reader.content`."""
        row = decoded(row)
        sentences = expect(row.get("text_list"), list, "text_list")
        shown: list[list[Path]] = [[] for _ in sentences]
        for value in expect(row.get("image_info"), list, "image_info"):
            image = expect(value, dict, "one of image_info")
            index = whole(image.get("matched_text_index"), "matched_text_index")
            if not 0 <= index < len(sentences):
                raise Fault(
                    "wrong_layout",
                    f"an image is matched to the sentence {index} of {len(sentences)}, from 0",
                )
            shown[index] += image_paths(expect(image.get("image_name"), str, "image"), image_root)
        pieces: list[str | Path] = []
        for sentence, images in zip(sentences, shown, strict=True):
            said = [expect(sentence, str, "a sentence")]
            pieces += [*images, *said] if self.placement == "before" else [*said, *images]
        url = {"url": row["url"]} if "url" in row else {}
        return conversation(pieces, name=str(row.get("id", name)), between=" ", meta=url)


READER = Mmc4
