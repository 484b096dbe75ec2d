"""What a data set knows of an image, before anybody asks: the facts that templates make turns of.

A file of conversations says how its questions are put. Others hold a question and its answers, a
phrase and its box, a caption; how a model is asked for them is the recipe's choice, not the file's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from isthmus.data.faults import Fault
from isthmus.geometry.boxes import Box, check_box

Size = tuple[int, int]
"""Width and height. Units: original pixels, of the picture as it is seen."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Captioned:
    """The picture is described."""

    text: str


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A question has a short answer."""

    question: str
    answer: str
    """The one to learn."""
    answers: tuple[str, ...] = ()
    """What each annotator said; none where the data set has one answer."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A question has choices, one of which is right."""

    question: str
    choices: tuple[str, ...]
    index: int
    """Of the right one."""
    context: str = ""
    """What is told before the choices."""
    reasons: tuple[str, ...] = ()
    """Why the right one is, in words."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A statement about the picture is true or false."""

    statement: str
    is_true: bool


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A phrase names what a box holds."""

    phrase: str
    box: Box
    """Units: original pixels."""
    size: Size | None = None
    """Of the picture; None where the file does not tell it, so that the picture is asked."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Grounded:
    """A text names things whose boxes are known; it may answer a question."""

    text: str
    places: tuple[tuple[int, int, tuple[Box, ...]], ...]
    """First character of a phrase, the one after its last, and its boxes in original pixels."""
    question: str = ""
    size: Size | None = None
    """See `Located`."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Pointed:
    """A question is answered by one of several boxes."""

    question: str
    boxes: tuple[Box, ...]
    """Units: original pixels."""
    index: int
    """Of the right one."""
    size: Size | None = None
    """See `Located`."""


Fact = Captioned | Answered | Chosen | Judged | Located | Grounded | Pointed

KIND = {
    Captioned: "caption",
    Answered: "vqa",
    Chosen: "choice",
    Judged: "judgement",
    Located: "region",
    Grounded: "grounded",
    Pointed: "pointing",
}
"""How templates call the facts of a type; also the task, where a data set names none."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """Facts about the same images."""

    id: str
    """Name of the item, used in errors and results."""
    images: tuple[Path, ...]
    """Where the images are, in order; none for a question about nothing that is seen."""
    facts: tuple[Fact, ...]
    """At least one; all of one type."""
    task: str
    """What the data set trains, for scores and shares per task."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the data set knows."""

    def __post_init__(self) -> None:
        """Checks that every fact says something.

        Raises:
            Fault: there is none, a text is empty, an index names no choice, or a box has no area.
        """
        if not self.facts or len({type(fact) for fact in self.facts}) > 1:
            raise Fault(
                "wrong_layout", f"{self.id}: {len(self.facts)} facts; expected some of one type"
            )
        for fact in self.facts:
            _check(fact, self.id)


def _check(fact: Fact, name: str) -> None:
    match fact:
        case Captioned(text=text) | Grounded(text=text) | Judged(statement=text):
            _check_text(text, name, "empty_answer", "text")
        case Located(phrase=phrase, box=box):
            _check_text(phrase, name, "empty_answer", "phrase")
            _check_boxes((box,), name)
        case Answered(question=question, answer=answer):
            _check_text(question, name, "no_question", "question")
            _check_text(answer, name, "empty_answer", "answer")
        case Chosen(question=question, choices=choices, index=index):
            _check_text(question, name, "no_question", "question")
            _check_index(index, len(choices), name)
        case Pointed(question=question, boxes=boxes, index=index):
            _check_text(question, name, "no_question", "question")
            _check_index(index, len(boxes), name)
            _check_boxes(boxes, name)
    if isinstance(fact, Grounded):
        _check_boxes(tuple(box for *_, boxes in fact.places for box in boxes), name)
        ends = [end for span in fact.places for end in span[:2]]
        if ends != sorted(ends) or (ends and not 0 <= ends[0] <= ends[-1] <= len(fact.text)):
            raise Fault(
                "wrong_layout",
                f"{name}: the phrases {[span[:2] for span in fact.places]} of a text of "
                f"{len(fact.text)} characters; expected one after the other, within the text",
            )


def _check_text(text: str, name: str, reason: Any, what: str) -> None:
    if not text.strip():
        raise Fault(reason, f"{name}: the {what} is empty; drop the row or fill it")


def _check_index(index: int, num: int, name: str) -> None:
    if not 0 <= index < num:
        raise Fault("no_answer", f"{name}: the right choice is number {index} of {num}, from 0")


def _check_boxes(boxes: tuple[Box, ...], name: str) -> None:
    for box in boxes:
        try:
            check_box(box)
        except ValueError as error:
            raise Fault("wrong_box", f"{name}: {error}") from error
