"""What the tower LMs read: scenes in words with many questions each, and tasks without a scene."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import final

from isthmus.microworld.scene import MAX_THINGS, draw_scene
from isthmus.microworld.tasks import GROUNDED, TEXT_ONLY, VQA, questions
from isthmus.microworld.towers.tokenizer import ASSISTANT, BEGIN, END, USER
from isthmus.microworld.words import scene_text

_TEXT_ONLY_SHARE, _BOXES_SHARE = 0.15, 0.2
_TASKS = (*VQA, *VQA, *VQA, "board", "board", "board", "reading", "caption")
_TASKS_WITH_BOXES = (*VQA, "caption", *GROUNDED, "referring", "region", "grounded_vqa")

Turns = list[tuple[str, str]]


@final
@dataclass(frozen=True, slots=True)
class Document:
    """Pieces of text, every second one an answer, and how many things its scene holds (0: none)."""

    pieces: list[str]
    num_things: int


def _base(context: str, turns: Turns) -> list[str]:
    """Plain lines: the context, then a question and its answer in turn."""
    pieces = []
    for i, (question, answer) in enumerate(turns):
        lead = BEGIN + (f"{context}\n" if context else "") if i == 0 else ""
        pieces += [f"{lead}{question}\n", f"{answer}\n"]
    return [*pieces, END]


def _chat(context: str, turns: Turns) -> list[str]:
    pieces = []
    for i, (question, answer) in enumerate(turns):
        lead = BEGIN + USER + (f"{context}\n" if context else "") if i == 0 else USER
        pieces += [f"{lead}{question}{END}{ASSISTANT}", f"{answer}{END}"]
    return pieces


def write_document(context: str, turns: Turns, *, chat: bool) -> list[str]:
    """The pieces of a document: a context (may be empty), then questions and answers in turn."""
    return (_chat if chat else _base)(context, turns)


@final
@dataclass(slots=True)
class Curriculum:
    """How many things a scene may hold: one more each time the largest scenes are well answered.

    Without it a small LM stays for long near what can be guessed on full scenes.
    """

    level: int = 1
    accuracy: float = 0.0
    pass_mark: float = 0.8

    def draw(self, rng: Random) -> int:
        """Half the scenes at the present level, the rest spread over the levels up to it."""
        return self.level if rng.random() < 0.5 else 1 + int(rng.random() * self.level)

    def observe(self, accuracy: float) -> None:
        """Takes in a batch's answer accuracy at the present level."""
        self.accuracy += 0.05 * (accuracy - self.accuracy)
        if self.accuracy > self.pass_mark and self.level < MAX_THINGS:
            self.level, self.accuracy = self.level + 1, 0.0


def documents(rng: Random, curriculum: Curriculum, *, chat: bool, turns: int) -> Iterator[Document]:
    """Endless documents of up to `turns` questions each, scenes from the train split alone."""
    while True:
        if rng.random() < _TEXT_ONLY_SHARE:
            asked = [TEXT_ONLY[rng.choice(tuple(TEXT_ONLY))](rng) for _ in range(turns)]
            turns_asked = [(q.text, q.answer) for q in asked]
            yield Document(write_document("", turns_asked, chat=chat), 0)
            continue
        number = curriculum.draw(rng)
        scene = draw_scene("train", rng, number)
        boxes = rng.random() < _BOXES_SHARE
        tasks = _TASKS_WITH_BOXES if boxes else _TASKS
        pairs = [(q.text, q.answer) for _, q in questions(scene, rng, tasks, turns)]
        if pairs:
            context = scene_text(scene, rng, boxes=boxes)
            yield Document(write_document(context, pairs, chat=chat), number)
