"""Visual7W: questions with four answers, which are texts (telling) or boxes (pointing)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final
from zlib import crc32

from isthmus.data.facts import Chosen, Item, Pointed
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources._files import by_id, decoded, read_object
from isthmus.data.sources._values import box, text
from isthmus.data.sources.base import Reader, expect, image_paths
from isthmus.geometry.boxes import Box


@final
@dataclass(frozen=True, kw_only=True)
class Visual7W(Reader):
    """Reads `dataset_v7w_telling.json` or `dataset_v7w_pointing.json`; a row is a question.

    A question is `{"qa_id": 1, "question": ..., "answer": ..., "multiple_choices": [...]}` among
    the `qa_pairs` of an image, and the right answer is not among the choices. Pointing files have
    `boxes`, of which answer and choices are the `box_id`.

    The right answer gets its place among the others by the number of the question, so that it is
    the same in every run, and each place is as frequent as the others.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)

    split: Literal["train", "val", "test"] = "train"

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the questions of all images; see `Reader.rows`."""
        document = read_object(files["file"], "images")
        given = document.get("boxes")
        boxes = by_id(given, "box_id") if isinstance(given, list) else None
        return [row for image in document["images"] for row in _questions(image, boxes)]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a question with its choices; see `Reader.content`."""
        row = decoded(row)
        if row.get("split") != self.split:
            raise Filtered("split")
        pair = expect(row.get("pair"), dict, "one of qa_pairs")
        number = text(pair.get("qa_id"), "qa_id")
        question = text(pair.get("question"), "question")
        choices = [*expect(pair.get("multiple_choices"), list, "multiple_choices")]
        index = crc32(number.encode()) % (len(choices) + 1)
        choices.insert(index, pair.get("answer"))
        fact: Chosen | Pointed
        if "boxes" in row:
            pointed = tuple(_box(each, row["boxes"]) for each in choices)
            fact = Pointed(question=question, boxes=pointed, index=index)
        else:
            told = tuple(text(each, "a choice") for each in choices)
            fact = Chosen(question=question, choices=told, index=index)
        return Item(
            id=number,
            images=image_paths(text(row.get("filename"), "filename"), image_root),
            facts=(fact,),
            task="pointing" if isinstance(fact, Pointed) else "choice",
            meta={"type": pair["type"]} if "type" in pair else {},
        )


def _questions(image: Any, boxes: Mapping[str, Any] | None) -> list[Any]:
    """Returns the questions of an image; what is no image is one row, which `content` refuses."""
    pairs = image.get("qa_pairs") if isinstance(image, dict) else None
    if not isinstance(pairs, list):
        return [image]
    told = {"split": image.get("split"), "filename": image.get("filename")}
    if boxes is None:
        return [{**told, "pair": pair} for pair in pairs]
    return [{**told, "pair": pair, "boxes": _named(pair, boxes)} for pair in pairs]


def _named(pair: Any, boxes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the boxes that a question names, those that are there."""
    choices = pair.get("multiple_choices") if isinstance(pair, dict) else None
    names = [*choices, pair.get("answer")] if isinstance(choices, list) else []
    return {str(name): boxes[str(name)] for name in names if str(name) in boxes}


def _box(name: Any, boxes: Mapping[str, Any]) -> Box:
    found = boxes.get(str(name))
    if found is None:
        raise Fault("no_partner", f"no box has the box_id {name!r:.80}")
    edges = [found.get(key) for key in ("x", "y", "width", "height")]
    return box(edges, f"the box {name!r:.80}", "xywh")


READER = Visual7W
