"""Shikra's grounded reasoning: answers whose steps name boxes, made from Flickr30k's entities."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from isthmus.data.facts import Grounded, Item
from isthmus.data.faults import Fault
from isthmus.data.sources._files import decoded, read_rows
from isthmus.data.sources._values import box, check_template, filled, size, text, whole
from isthmus.data.sources.base import Reader, expect, image_paths
from isthmus.geometry.boxes import Box

_MARK = re.compile(r"<ph_(st|ed)>")


@final
@dataclass(frozen=True, kw_only=True)
class GroundedCot(Reader):
    """Reads such answers as JSON lines; a row is a question with one.

    A row is `{"img_path": "1.jpg", "width": ..., "height": ..., "question": ..., "cot_with_ans":
    "<ph_st>The man<ph_ed> runs. The answer is no.", "answer": "no", "boxes": [[x0, y0, x1, y1],
    ...], "answer_boxes_seq": [[0], ...]}`: the n-th phrase between marks names the boxes whose
    numbers stand at the n-th place. Marks in a question are taken out.

    Differs: the keys are those that Shikra's code reads; that the boxes are in original pixels is
        not verified.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    image: str = "{img_path}"
    """Template of an image's path, of the fields of the row."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the rows; see `Reader.rows`."""
        return read_rows(files["file"])

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a question with the reasoning to its answer; see `Reader.content`."""
        row = decoded(row)
        words, spans = _spans(text(row.get("cot_with_ans"), "cot_with_ans"))
        boxes = [box(each, "a box", "xyxy") for each in expect(row.get("boxes"), list, "boxes")]
        numbers = expect(row.get("answer_boxes_seq"), list, "answer_boxes_seq")
        if len(numbers) != len(spans):
            raise Fault(
                "wrong_layout",
                f"{len(spans)} phrases are marked, and answer_boxes_seq has {len(numbers)} places",
            )
        places = (
            (start, end, tuple(_chosen(each, boxes)))
            for (start, end), each in zip(spans, numbers, strict=True)
        )
        return Item(
            id=text(row.get("id", name), "id"),
            images=image_paths(filled(self.image, row), image_root),
            facts=(
                Grounded(
                    text=words,
                    places=tuple(places),
                    question=_MARK.sub("", text(row.get("question"), "question")),
                    size=size(row.get("width"), row.get("height")),
                ),
            ),
            task="grounded",
            meta={"answer": row["answer"]} if "answer" in row else {},
        )


def _spans(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """Returns a text without its marks, and where its phrases begin and end."""
    words, done = "", 0
    starts: list[int] = []
    ends: list[int] = []
    for mark in _MARK.finditer(marked):
        words += marked[done : mark.start()]
        done = mark.end()
        (starts if mark.group(1) == "st" else ends).append(len(words))
        if len(starts) - len(ends) not in (0, 1):
            break
    if len(starts) != len(ends):
        raise Fault(
            "wrong_layout",
            f"{len(starts)} phrases begin and {len(ends)} end in {marked!r:.80}; expected <ph_st> "
            "and <ph_ed> in turn",
        )
    return words + marked[done:], list(zip(starts, ends, strict=True))


def _chosen(numbers: Any, boxes: Sequence[Box]) -> Iterator[Box]:
    for value in expect(numbers, list, "one of answer_boxes_seq"):
        index = whole(value, "the number of a box")
        if not 0 <= index < len(boxes):
            raise Fault("wrong_box", f"a phrase names the box {index} of {len(boxes)}, from 0")
        yield boxes[index]


READER = GroundedCot
