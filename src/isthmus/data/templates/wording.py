"""The words that a template may use of a fact."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from string import ascii_uppercase
from typing import Protocol, runtime_checkable

from isthmus.data.facts import (
    Answered,
    Captioned,
    Chosen,
    Fact,
    Grounded,
    Judged,
    Located,
    Pointed,
    Size,
)
from isthmus.data.faults import Fault
from isthmus.data.images import upright_size
from isthmus.geometry.boxes import Box

Words = Mapping[str, Callable[[], str]]
"""A word in braces, and what makes it; a box is written, and its picture asked, only if wanted."""

WORDS: Mapping[type[Fact], frozenset[str]] = {
    Captioned: frozenset({"caption"}),
    Answered: frozenset({"question", "answer"}),
    Chosen: frozenset({"question", "options", "letter", "choice", "context", "hint", "reason"}),
    Judged: frozenset({"statement", "asked", "asked_by_substring", "yes_no", "true_false"}),
    Located: frozenset({"phrase", "box"}),
    Grounded: frozenset({"question", "ask_or_describe", "grounded", "plain"}),
    Pointed: frozenset({"question", "options", "letter", "box"}),
}
"""The words of each kind of fact. `context` is N/A where there is none, and `hint` is a line of its
own or nothing; `asked_by_substring` is Honeybee's way of turning a statement into a question."""

_DESCRIBE = "Describe the picture."
_VERB = re.compile(r"\b(is|are|was|were|has|have|can|does|do)\b")
_FIRST_LETTER = re.compile(r"^[A-Z](?![A-Z])")


@runtime_checkable
class WriteBoxes(Protocol):
    """Writes boxes, given in original pixels of a picture, as text."""

    def __call__(self, boxes: Sequence[Box], size: Size) -> str:
        """Returns the text of one box or several."""
        ...


def words_of(
    fact: Fact,
    *,
    images: Sequence[Path],
    write_boxes: WriteBoxes,
    chance: Random,
    shuffle: bool,
) -> Words:
    """Returns the words of a fact.

    Args:
        fact: what is known.
        images: it is about; the first one's size is looked up where the fact does not tell it.
        write_boxes: how boxes are written.
        chance: draws the order of choices.
        shuffle: whether that order is drawn, or kept.
    """

    def size() -> Size:
        told = getattr(fact, "size")  # noqa: B009 (asked only of facts that have one)
        return told if told is not None else upright_size(images[0])

    def boxes(found: Sequence[Box]) -> str:
        try:
            return write_boxes(found, size())
        except Fault:
            raise
        except ValueError as error:
            raise Fault("wrong_box", str(error)) from error

    match fact:
        case Captioned():
            return {"caption": lambda: fact.text}
        case Answered():
            return {"question": lambda: fact.question, "answer": lambda: fact.answer}
        case Chosen():
            order, place = _ordered(len(fact.choices), fact.index, chance, shuffle)
            choices = [fact.choices[number] for number in order]
            return {
                "question": lambda: fact.question,
                "options": lambda: _options(choices),
                "letter": lambda: _letters(len(choices))[place],
                "choice": lambda: fact.choices[fact.index],
                "context": lambda: fact.context or "N/A",
                "hint": lambda: f"{fact.context}\n" if fact.context else "",
                "reason": lambda: fact.reasons[0] if fact.reasons else "",
            }
        case Judged():
            return {
                "statement": lambda: fact.statement,
                "asked": lambda: as_question(fact.statement),
                "asked_by_substring": lambda: by_substring(fact.statement),
                "yes_no": lambda: "yes" if fact.is_true else "no",
                "true_false": lambda: "true" if fact.is_true else "false",
            }
        case Located():
            return {"phrase": lambda: fact.phrase, "box": lambda: boxes([fact.box])}
        case Grounded():
            return {
                "question": lambda: fact.question,
                "ask_or_describe": lambda: fact.question or _DESCRIBE,
                "plain": lambda: fact.text,
                "grounded": lambda: _grounded(fact, boxes),
            }
        case Pointed():
            order, place = _ordered(len(fact.boxes), fact.index, chance, shuffle)
            return {
                "question": lambda: fact.question,
                "options": lambda: _options([boxes([fact.boxes[number]]) for number in order]),
                "letter": lambda: _letters(len(order))[place],
                "box": lambda: boxes([fact.boxes[fact.index]]),
            }


def as_question(statement: str) -> str:
    """Returns the question whether a statement is true.

    Its first verb of a short list goes to the front: `The bench is left of the train.` becomes `Is
    the bench left of the train?`. Without such a verb the whole is asked about.
    """
    said = statement.strip().rstrip(".")
    found = _VERB.search(said)
    if found is None or not (before := said[: found.start()].strip()):
        return f"Is it true that {_lowered(said)}?"
    after = said[found.end() :].strip()
    return f"{found[0].capitalize()} {_lowered(before)}{f' {after}' if after else ''}?"


def by_substring(statement: str) -> str:
    """Returns what Honeybee's code makes of a statement, which it splits at the first `is`.

    Differs: `This is a bus` becomes `Is th is a bus?`, as it was learned; for comparison only.
    """
    before, _, after = statement.strip().rstrip(".").partition("is")
    return f"Is {_lowered(before.strip())} {after.strip()}?"


def _lowered(text: str) -> str:
    """Returns a text that no longer begins a sentence; abbreviations stay as they are."""
    return _FIRST_LETTER.sub(lambda letter: letter[0].lower(), text)


def _ordered(num: int, index: int, chance: Random, shuffle: bool) -> tuple[list[int], int]:
    """Returns an order of choices, and where the right one stands in it."""
    order = list(range(num))
    if shuffle:
        chance.shuffle(order)
    return order, order.index(index)


def _letters(num: int) -> str:
    if num > len(ascii_uppercase):
        raise Fault("wrong_layout", f"{num} choices; expected {len(ascii_uppercase)} at most")
    return ascii_uppercase[:num]


def _options(texts: Sequence[str]) -> str:
    pairs = zip(_letters(len(texts)), texts, strict=True)
    return "\n".join(f"{letter}. {text}" for letter, text in pairs)


def _grounded(fact: Grounded, boxes: Callable[[Sequence[Box]], str]) -> str:
    text, last = "", 0
    for _, end, found in fact.places:
        text += fact.text[last:end] + (f" {boxes(found)}" if found else "")
        last = end
    return text + fact.text[last:]
