"""VQAv2 and OK-VQA: a file of questions and one of annotations, which name the same questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

from isthmus.data.facts import Answered, Item
from isthmus.data.faults import Fault
from isthmus.data.sources._files import by_id, decoded, read_object
from isthmus.data.sources._values import check_template, filled, text, texts, value_at
from isthmus.data.sources.base import Reader, expect, image_paths


@final
@dataclass(frozen=True, kw_only=True)
class Vqa(Reader):
    """Reads `..._questions.json` with `..._annotations.json`; a row is a question.

    A question is `{"image_id": 42, "question": ..., "question_id": 42000}`, and its annotation
    `{"question_id": 42000, "multiple_choice_answer": "yes", "answers": [{"answer": "yes"}, ...]}`.
    The answer to learn is `multiple_choice_answer`. Annotations of other questions are not looked
    at.

    Differs: Honeybee joins the two files by their order; here they are joined by `question_id`.
    """

    files: ClassVar[tuple[str, ...]] = ("questions", "annotations")

    image: str = "COCO_{data_subtype}_{image_id:012d}.jpg"
    """Template of an image's path; `data_subtype` is that of the questions."""

    def __post_init__(self) -> None:
        """Checks the template."""
        check_template(self.image)

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the questions, each with its annotation; see `Reader.rows`."""
        asked = read_object(files["questions"], "questions")
        answered = read_object(files["annotations"], "annotations")
        annotations = by_id(answered["annotations"], "question_id")
        return [
            {
                "data_subtype": asked.get("data_subtype"),
                "asked": question,
                "answered": annotations.get(str(question.get("question_id")))
                if isinstance(question, dict)
                else None,
            }
            for question in asked["questions"]
        ]

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns a question with its answers; see `Reader.content`."""
        row = decoded(row)
        question = expect(row["asked"], dict, "a question")
        number = text(question.get("question_id"), "question_id")
        annotation = row["answered"]
        if annotation is None:
            raise Fault("no_partner", f"no annotation has the question_id {number}")
        path = filled(self.image, {**question, "data_subtype": row["data_subtype"]})
        answers = texts(value_at(annotation, "answers.answer") or [], "answers")
        kinds = ("question_type", "answer_type")
        return Item(
            id=number,
            images=image_paths(path, image_root),
            facts=(
                Answered(
                    question=text(question.get("question"), "question"),
                    answer=text(annotation.get("multiple_choice_answer"), "multiple_choice_answer"),
                    answers=answers,
                ),
            ),
            task="vqa",
            meta={key: annotation[key] for key in kinds if key in annotation},
        )


READER = Vqa
