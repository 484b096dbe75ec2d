"""AI2D: a file for each diagram, in which the text of a question is the key of its choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from isthmus.data.facts import Chosen, Item
from isthmus.data.faults import Fault, Filtered
from isthmus.data.sources._files import decoded, read_bytes, read_text
from isthmus.data.sources._values import check_template, filled, text, texts, whole
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class Ai2d(Reader):
    """Reads the folder `questions` with `ai2d_test_ids.csv`; a row is a diagram.

    A file is `{"imageName": "12.png", "questions": {text: {"questionId": "12.png-0",
    "answerTexts": [...], "correctAnswer": 2}}}`. The diagrams are published twice: as they are, and
    with letters in place of their labels, which are then the choices. The image root decides.
    """

    files: ClassVar[tuple[str, ...]] = ("questions", "test_ids")

    split: Literal["train", "test"] = "train"
    """`test` are the diagrams that `test_ids` names, `train` the others."""
    image: str = "{imageName}"
    """Template of an image's path."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns where the files of the diagrams are, which are read later; see `Reader.rows`."""
        found = sorted(files["questions"].glob("*.json"))
        if not found:
            raise ValueError(f"{files['questions']} holds no .json; expected one for each diagram")
        tested = set(read_text(files["test_ids"]).split())
        return [
            {"file": file, "split": "test" if file.name.split(".")[0] in tested else "train"}
            for file in found
        ]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a diagram with its questions; see `Reader.content`."""
        if row["split"] != self.split:
            raise Filtered("split")
        diagram = decoded(read_bytes(row["file"]))
        questions = expect(diagram.get("questions"), dict, "questions")
        if not questions:
            raise Fault("no_question", f"{row['file'].name} holds no question")
        return Item(
            id=text(diagram.get("imageName"), "imageName"),
            images=image_paths(filled(self.image, diagram), image_root),
            facts=tuple(_chosen(*each) for each in questions.items()),
            task="choice",
        )


def _chosen(question: str, value: Any) -> Chosen:
    held = expect(value, dict, "a question")
    return Chosen(
        question=question,
        choices=texts(held.get("answerTexts"), "answerTexts"),
        index=whole(held.get("correctAnswer"), "correctAnswer"),
    )


READER = Ai2d
