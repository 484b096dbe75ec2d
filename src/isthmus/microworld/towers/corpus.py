"""What the tower LMs read: scenes in words with many questions each, and tasks without a scene."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from statistics import fmean
from typing import final

from isthmus.microworld.scene import MAX_THINGS, draw_scene
from isthmus.microworld.tasks import GROUNDED, TEXT_ONLY, VQA, distinct, questions
from isthmus.microworld.towers.tokenizer import ASSISTANT, BEGIN, END, USER
from isthmus.microworld.words import scene_text

_TEXT_ONLY_SHARE, _BOXES_SHARE = 0.15, 0.1
SHORT_ANSWERS = (*VQA, "board", "reading")
"""Tasks whose answers the curriculum goes by."""
_TASKS = (*SHORT_ANSWERS, "caption")
_TASKS_WITH_BOXES = (*VQA, "caption", *GROUNDED)

Turns = list[tuple[str, str]]


@final
@dataclass(frozen=True, slots=True)
class Document:
    """Pieces of text, every second one an answer."""

    pieces: list[str]
    task: str = ""
    """Of the first answer about the scene."""
    num_things: int = 0
    """How many things the scene holds; 0 when there is none."""


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
    """How many things a scene may hold, and which questions are asked about it.

    A task is asked the more often the less of it is right, and a thing is added when the tasks are
    well answered on average, or after a while. Asked evenly on full scenes, a small LM learns to
    look up a colour and for long leaves what takes two steps (a place, a relation) to chance.
    The first scenes hold up to two things: alone, a thing need not be matched with the words of the
    question, and `Is there a red star?` stayed at chance.
    """

    level: int = 2
    pass_mark: float = 0.9
    patience: int = 800
    """Steps after which a thing is added all the same."""
    steps: int = 0
    """Steps at the present level."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Per task, the running share of right first answers at the present level."""

    def draw(self, rng: Random) -> int:
        """Half the scenes at the present level, the rest spread over the levels up to it."""
        return self.level if rng.random() < 0.5 else 1 + int(rng.random() * self.level)

    def weight(self, task: str) -> float:
        """How often a task is asked: from 1 when none of it is right to 0.1 when all is."""
        return max(0.1, 1.0 - self.accuracy.get(task, 0.0))

    @property
    def mean(self) -> float:
        """Mean accuracy of the tasks, each counted once however often it is asked."""
        return sum(self.accuracy.values()) / max(1, len(self.accuracy))

    def observe_answers(self, told: Iterable[tuple[Document, bool]]) -> None:
        """Takes in a batch's short answers at the present level.

        Args:
            told: documents, each with whether its first answer is right.
        """
        by_task = defaultdict(list)
        for document, is_right in told:
            if document.num_things == self.level and document.task in SHORT_ANSWERS:
                by_task[document.task].append(float(is_right))
        self.observe({task: fmean(found) for task, found in by_task.items()})

    def observe(self, accuracy: dict[str, float]) -> None:
        """Takes in a batch's accuracy by task, at the present level, of first answers.

        Later ones can be told from earlier ones without a look at the scene.
        """
        for task, value in accuracy.items():
            mean = self.accuracy.get(task, 0.0)
            self.accuracy[task] = mean + 0.05 * (value - mean)
        self.steps += 1
        if self.level < MAX_THINGS and (self.mean > self.pass_mark or self.steps >= self.patience):
            self.level, self.steps = self.level + 1, 0
            self.accuracy = dict.fromkeys(self.accuracy, 0.0)


def documents(rng: Random, curriculum: Curriculum, *, chat: bool, turns: int) -> Iterator[Document]:
    """Endless documents of up to `turns` questions each, scenes from the train split alone."""
    while True:
        if rng.random() < _TEXT_ONLY_SHARE:
            asked = [TEXT_ONLY[rng.choice(tuple(TEXT_ONLY))](rng) for _ in range(turns)]
            yield Document(write_document("", [(q.text, q.answer) for q in asked], chat=chat))
            continue
        number = curriculum.draw(rng)
        scene = draw_scene("train", rng, number)
        boxes = rng.random() < _BOXES_SHARE
        names = _TASKS_WITH_BOXES if boxes else _TASKS
        drawn = rng.choices(names, [curriculum.weight(name) for name in names], k=turns)
        stream = (pair for name in drawn for pair in questions(scene, rng, (name,), 1))
        # Asked twice, a question would be answered from its first answer, not from the scene.
        pairs = distinct(stream, turns)
        if pairs:
            context = scene_text(scene, rng, boxes=boxes)
            pieces = write_document(context, [(q.text, q.answer) for _, q in pairs], chat=chat)
            yield Document(pieces, pairs[0][0], number)


def held_out_texts(num: int) -> list[str]:
    """Returns whole documents of the kind that the language models learned from, drawn anew."""
    everything = Curriculum(level=MAX_THINGS)
    stream = documents(Random("papers/held-out"), everything, chat=False, turns=4)
    return ["".join(document.pieces) for document in islice(stream, num)]
